//! The table of verdicts, with a small picture of each, and the list of what to do.
//!
//! Invariant: raw stands beside clean in every row, and the share kept beside both.

use super::svg::{LogScale, percent};
use super::{ROWS_MAX, badge, class, is_quiet, left_out, limit, metric_text, prose, span};
use crate::gate::model::{GateReport, Verdict, Word};
use crate::gate::out::phrase::{
    advice, by_hop, change, escape, figures, hop, is_pass, is_shown_only, kept, letters, place,
    quantile, sign, slowed, span_of, standing, times, worst_first,
};
use crate::view::text::grouped;

/// What is no pass, worst first, each with its reason and next step.
pub(super) fn advice_list(report: &GateReport) -> String {
    if is_quiet(report) {
        return String::new();
    }
    let open: Vec<&Verdict> = worst_first(&report.verdicts)
        .into_iter()
        .filter(|verdict| !is_pass(standing(verdict)))
        .collect();
    let mut out = String::from("<ol class=\"advice\">\n");
    for verdict in open.iter().take(ROWS_MAX) {
        out += &format!(
            "<li class=\"{}\"><p>{} <strong>{}</strong></p><p>{}</p>",
            class(verdict.word),
            badge(verdict.word),
            prose(&place(verdict)),
            prose(&figures(verdict)),
        );
        let advice = advice(verdict);
        if !advice.is_empty() {
            out += &format!("<p class=\"step\">{}</p>", prose(&advice));
        }
        out += "</li>\n";
    }
    out + "</ol>\n" + &left_out(ROWS_MAX, open.len(), "verdicts")
}

/// The table of all verdicts, hop by hop.
pub(super) fn table(report: &GateReport) -> String {
    if report.verdicts.is_empty() {
        return "<p>Nothing was judged.</p>\n".to_owned();
    }
    let has_base = report
        .verdicts
        .iter()
        .any(|verdict| verdict.change.is_some());
    let has_budget = report
        .verdicts
        .iter()
        .any(|verdict| verdict.budget_ns.is_some());
    let figures = report.verdicts.iter().flat_map(|verdict| {
        [
            verdict.raw_ns,
            verdict.clean_ns,
            verdict.budget_ns.unwrap_or(0),
        ]
    });
    let scale = LogScale::around(figures);
    let mut out = String::from(LEGEND);
    out += "<div class=\"scroll\" role=\"region\" aria-label=\"Verdicts\" tabindex=\"0\">\n<table class=\"verdicts\" role=\"table\">\n";
    out += "<thead role=\"rowgroup\"><tr role=\"row\">";
    let picture = format!("{}, a step a decade", scale.told());
    let titles = [
        ("Hop", ""),
        ("Span", ""),
        ("Quantile", ""),
        ("Verdict", ""),
        ("Budget", "n"),
        ("Raw", "n"),
        ("Clean", "n"),
        ("Clean, 95 % bounds", "n"),
        ("Host floor", "n"),
        ("Kept", "n"),
        ("Slowed", "n"),
        ("Over budget", "n"),
    ];
    let of_budgets = |title: &str| !has_budget && title.to_lowercase().contains("budget");
    for (title, side) in titles {
        // Beside a base nothing need have one: room for the others.
        if of_budgets(title) {
            continue;
        }
        out += &format!("<th role=\"columnheader\" scope=\"col\" class=\"{side}\">{title}</th>");
    }
    if has_base {
        out += "<th role=\"columnheader\" scope=\"col\" class=\"n\">Head / base</th>";
    }
    out += &format!(
        "<th role=\"columnheader\" scope=\"col\"><span title=\"{picture}\">Picture</span></th></tr></thead>\n"
    );
    let mut last = "";
    let mut is_open = false;
    for verdict in by_hop(report).into_iter().take(ROWS_MAX) {
        if verdict.hop != last || !is_open {
            if is_open {
                out += "</tbody>\n";
            }
            out += "<tbody role=\"rowgroup\">\n";
            is_open = true;
            last = &verdict.hop;
        }
        out += &row(verdict, scale, has_base, has_budget);
    }
    out += if is_open {
        "</tbody>\n</table>\n</div>\n"
    } else {
        "</table>\n</div>\n"
    };
    out + &left_out(ROWS_MAX, report.verdicts.len(), "verdicts")
}

/// What the marks of the small pictures mean.
const LEGEND: &str = "<p class=\"legend\"><span><i class=\"key clean\"></i>clean: frames that the host did not touch; \
<em>kept</em> is their share, <em>slowed</em> that of frames no gap touched but whose core ran slowly</span> \
<span><i class=\"key raw\"></i>raw: all frames</span> <span><i class=\"key floor\"></i>host floor: what a hop that costs nothing \
would have had</span> \
<span><i class=\"key budget\"></i>budget</span></p>\n";

fn row(verdict: &Verdict, scale: LogScale, has_base: bool, has_budget: bool) -> String {
    let some = |has: bool, ns: u64| if has { span(ns) } else { "–".to_owned() };
    let has_clean = verdict.n_clean > 0;
    let bounds = if has_clean {
        format!(
            "{} – {}",
            span(verdict.clean_low_ns),
            span(verdict.clean_high_ns)
        )
    } else {
        "–".to_owned()
    };
    let over = match verdict.budget_ns {
        Some(_) => format!(
            "{} of {}",
            grouped(verdict.clean.k),
            grouped(verdict.clean.n)
        ),
        None => "–".to_owned(),
    };
    let mut out = format!("<tr role=\"row\" class=\"{}\">", class(standing(verdict)));
    out += &format!(
        "<th role=\"rowheader\" scope=\"row\" class=\"hop\">{}</th>",
        escape(&hop(&verdict.hop))
    );
    let mut cell = |label: &str, class: &str, text: &str| {
        out += &format!("<td role=\"cell\" class=\"{class}\" data-label=\"{label}\">{text}</td>");
    };
    cell("Span", "what", &escape(span_of(&verdict.of)));
    cell("Quantile", "what", &escape(&quantile(&verdict.quantile)));
    // Before the figures, so that a narrow window shows it. The reason is a word or two; the list above has the rest.
    let reason = if is_shown_only(verdict) {
        " <span class=\"reason\">reported only</span>".to_owned()
    } else if verdict.word == Word::Inconclusive && !verdict.reason.is_empty() {
        format!(" <span class=\"reason\">{}</span>", escape(&verdict.reason))
    } else {
        String::new()
    };
    cell(
        "Verdict",
        "word",
        &format!("{}{reason}", badge(verdict.word)),
    );
    if has_budget {
        cell(
            "Budget",
            "n",
            &verdict.budget_ns.map_or_else(|| "–".to_owned(), limit),
        );
    }
    cell("Raw", "n dim", &some(verdict.n > 0, verdict.raw_ns));
    cell("Clean", "n strong", &some(has_clean, verdict.clean_ns));
    cell("Bounds", "n dim wide", &bounds);
    cell(
        "Host floor",
        "n dim",
        &some(verdict.host_floor_ns > 0, verdict.host_floor_ns),
    );
    cell("Kept", "n", &escape(&kept(verdict)));
    cell("Slowed", "n dim", &escape(&slowed(verdict)));
    if has_budget {
        cell("Over budget", "n dim wide", &over);
    }
    if has_base {
        let text = verdict.change.map_or_else(
            || "–".to_owned(),
            |against| {
                format!(
                    "<span title=\"{}\">{}</span>",
                    escape(&metric_text(&change(&against))),
                    times(against.ratio)
                )
            },
        );
        cell("Head / base", "n", &text);
    }
    cell("Picture", "picture", &picture(verdict, scale));
    out + "</tr>\n"
}

/// Floor, clean with its bounds, raw and budget on one scale for the whole table.
fn picture(verdict: &Verdict, scale: LogScale) -> String {
    let at = |ns: u64| percent(0.02 + 0.96 * scale.at(ns));
    let mut body = String::from("<line class=\"axis\" x1=\"0\" x2=\"100%\" y1=\"10\" y2=\"10\"/>");
    for step in scale.steps() {
        body += &format!(
            "<line class=\"tick\" x1=\"{0}\" x2=\"{0}\" y1=\"7\" y2=\"13\"/>",
            at(step)
        );
    }
    if verdict.host_floor_ns > 0 {
        body += &format!(
            "<line class=\"floor\" x1=\"{0}\" x2=\"{0}\" y1=\"4\" y2=\"16\"/>",
            at(verdict.host_floor_ns)
        );
    }
    if verdict.n_clean > 0 && verdict.n > 0 {
        body += &format!(
            "<line class=\"noise\" x1=\"{}\" x2=\"{}\" y1=\"10\" y2=\"10\"/>",
            at(verdict.clean_ns),
            at(verdict.raw_ns)
        );
    }
    if verdict.n > 0 {
        body += &format!(
            "<circle class=\"raw\" cx=\"{}\" cy=\"10\" r=\"4\"/>",
            at(verdict.raw_ns)
        );
    }
    if verdict.n_clean > 0 {
        body += &format!(
            "<line class=\"bounds\" x1=\"{}\" x2=\"{}\" y1=\"10\" y2=\"10\"/><circle class=\"clean\" cx=\"{}\" cy=\"10\" r=\"4.5\"/>",
            at(verdict.clean_low_ns),
            at(verdict.clean_high_ns),
            at(verdict.clean_ns)
        );
    }
    if let Some(budget_ns) = verdict.budget_ns {
        body += &format!(
            "<line class=\"budget\" x1=\"{0}\" x2=\"{0}\" y1=\"1\" y2=\"19\"/>",
            at(budget_ns)
        );
    }
    let told = format!(
        "{} {}: {}",
        sign(verdict.word),
        letters(verdict.word),
        figures(verdict)
    );
    format!(
        "<svg class=\"bullet\" role=\"img\" aria-label=\"{0}\"><title>{0}</title>{body}</svg>",
        escape(&metric_text(&told))
    )
}
