//! Reads a page as a scraper does, and finds what breaks the rules of OpenMetrics or of the project.

use std::collections::{BTreeMap, BTreeSet};

use hopline::metrics::{BOUNDS, FAMILIES, Family, Kind};

/// A sample: its name, its labels, its value as written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Read {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: String,
}

/// A page as it was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scraped {
    /// Families that were declared, in their order.
    pub(crate) families: Vec<String>,
    pub(crate) samples: Vec<Read>,
    /// What is wrong with it.
    pub(crate) faults: Vec<String>,
}

impl Scraped {
    /// The one sample of that name with these labels among its own.
    #[track_caller]
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> &str {
        let matches = |sample: &&Read| {
            let has = |(label, value): &(&str, &str)| {
                sample.labels.get(*label).map(String::as_str) == Some(*value)
            };
            sample.name == name && labels.iter().all(has)
        };
        let found: Vec<&Read> = self.samples.iter().filter(matches).collect();
        assert_eq!(found.len(), 1, "{name} {labels:?}");
        &found[0].value
    }

    #[track_caller]
    pub(crate) fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        self.value(name, labels).parse().unwrap()
    }
}

/// Reads a page of OpenMetrics.
pub(crate) fn scraped(text: &str) -> Scraped {
    let mut page = Scraped::default();
    let Some(body) = text.strip_suffix("# EOF\n") else {
        page.faults.push("it does not end with # EOF".to_owned());
        return page;
    };
    let mut seen = BTreeSet::new();
    for line in body.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            let name = head.split(' ').next().unwrap_or_default();
            if page.families.iter().any(|other| other == name) {
                page.faults.push(format!("{name} is declared twice"));
            }
            page.families.push(name.to_owned());
        } else if !line.starts_with('#') {
            let Some(sample) = sample(line) else {
                page.faults.push(format!("no sample: {line}"));
                continue;
            };
            if !seen.insert((sample.name.clone(), sample.labels.clone())) {
                page.faults.push(format!("twice: {line}"));
            }
            let family = FAMILIES
                .iter()
                .find(|family| page.families.last().is_some_and(|last| last == family.name));
            match family {
                Some(family) => page.faults.extend(misfits(family, &sample)),
                None => page.faults.push(format!("of no family: {line}")),
            }
            page.samples.push(sample);
        }
    }
    let breaches = histograms(&page.samples);
    page.faults.extend(breaches);
    page
}

/// `name{label="value",…} value`.
fn sample(line: &str) -> Option<Read> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        loop {
            let (label, value) = rest.split_once("=\"")?;
            let (text, behind) = unescaped(value)?;
            labels.insert(label.to_owned(), text);
            rest = behind;
            match rest.strip_prefix(',') {
                Some(next) => rest = next,
                None => break,
            }
        }
        rest = rest.strip_prefix('}')?;
    }
    let value = rest.strip_prefix(' ')?;
    value.parse::<f64>().ok()?;
    Some(Read {
        name: name.to_owned(),
        labels,
        value: value.to_owned(),
    })
}

/// A label's value up to its closing quote, and what lies behind that.
fn unescaped(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut letters = text.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((out, &text[at + 1..])),
            '\\' => out.push(match letters.next()?.1 {
                'n' => '\n',
                letter @ ('\\' | '"') => letter,
                _ => return None,
            }),
            letter => out.push(letter),
        }
    }
    None
}

/// What of a sample does not belong to the family under whose head it stands.
fn misfits(family: &Family, sample: &Read) -> Vec<String> {
    let mut faults = Vec::new();
    let suffix = sample.name.strip_prefix(family.name);
    let (suffixes, more): (&[&str], &[&str]) = match family.kind {
        Kind::Counter => (&["_total"], &[]),
        Kind::Gauge => (&[""], &[]),
        Kind::Histogram => (&["_bucket", "_count", "_sum"], &["le"]),
        Kind::Summary => (&["", "_count", "_sum"], &["quantile"]),
    };
    if !suffix.is_some_and(|suffix| suffixes.contains(&suffix)) {
        faults.push(format!("{} under {}", sample.name, family.name));
    }
    // What counts is never below 0; a gauge may be.
    let is_negative = sample.value.starts_with('-');
    if is_negative && family.kind != Kind::Gauge {
        faults.push(format!("{} is below 0: {}", sample.name, sample.value));
    }
    let mut allowed = family.labels.to_vec();
    allowed.extend(more);
    let is_allowed = |label: &str| allowed.contains(&label);
    let odd = sample.labels.keys().filter(|label| !is_allowed(label));
    faults.extend(odd.map(|label| format!("{}: label {label}", sample.name)));
    let missing = family.labels.iter();
    let missing = missing.filter(|label| !sample.labels.contains_key(**label));
    faults.extend(missing.map(|label| format!("{}: no label {label}", sample.name)));
    faults
}

/// A metric's name and its labels.
type Series = (String, BTreeMap<String, String>);

/// What of the histograms does not add up: buckets that fall, other bounds than the documented ones, a sum of all that is another.
fn histograms(samples: &[Read]) -> Vec<String> {
    let mut all: BTreeMap<Series, Vec<(String, u64)>> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for sample in samples {
        let mut labels = sample.labels.clone();
        if let Some(name) = sample.name.strip_suffix("_bucket") {
            let le = labels.remove("le").unwrap_or_default();
            let count = sample.value.parse().unwrap_or(u64::MAX);
            all.entry((name.to_owned(), labels))
                .or_default()
                .push((le, count));
        } else if let Some(name) = sample.name.strip_suffix("_count") {
            counts.insert((name.to_owned(), labels), sample.value.clone());
        }
    }
    let mut faults = Vec::new();
    for (key, buckets) in all {
        let name = &key.0;
        let bounds = BOUNDS.iter().map(|bound| bound.le).chain(["+Inf"]);
        if !buckets.iter().map(|(le, _)| le.as_str()).eq(bounds) {
            faults.push(format!("{name}: other bounds than documented"));
        }
        if !buckets.is_sorted_by_key(|(_, count)| *count) {
            faults.push(format!("{name}: its buckets fall"));
        }
        let last = buckets.last().map(|(_, count)| count.to_string());
        if counts.get(&key) != last.as_ref() {
            faults.push(format!("{name}: +Inf is not its count"));
        }
    }
    faults
}
