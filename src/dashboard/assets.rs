//! The page, as it is served: the files of the folder `assets`, embedded.
//!
//! Invariant: whatever the page loads is one of these.

use crate::edge::Asset;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! assets {
    ($($path:literal $file:literal $content_type:ident),+ $(,)?) => {
        &[$(Asset {
            path: $path,
            content_type: $content_type,
            bytes: include_bytes!(concat!("assets/", $file)),
        }),+]
    };
}

/// Every file of the page, by its path; the one at `/` is what a person opens. `/hopline.js` is the client of the edge, which other
/// pages may import.
pub const ASSETS: &[Asset] = assets![
    "/" "index.html" HTML,
    "/style.css" "style.css" CSS,
    "/icon.svg" "icon.svg" SVG,
    "/dag.js" "dag.js" SCRIPT,
    "/dashboard.js" "dashboard.js" SCRIPT,
    "/dom.js" "dom.js" SCRIPT,
    "/hop.js" "hop.js" SCRIPT,
    "/hopline.js" "hopline.js" SCRIPT,
    "/hops.js" "hops.js" SCRIPT,
    "/layout.js" "layout.js" SCRIPT,
    "/model.js" "model.js" SCRIPT,
    "/notices.js" "notices.js" SCRIPT,
    "/text.js" "text.js" SCRIPT,
    "/timeline.js" "timeline.js" SCRIPT,
    "/way.js" "way.js" SCRIPT,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn text(asset: &Asset) -> &str {
        core::str::from_utf8(asset.bytes).unwrap()
    }

    /// What a file names of others: imports, and the addresses of a page.
    fn named(text: &str) -> impl Iterator<Item = &str> {
        let after = |mark: &'static str| {
            text.match_indices(mark)
                .filter_map(move |(at, _)| text[at + mark.len()..].split('"').next())
        };
        after("from \"./")
            .chain(after("src=\""))
            .chain(after("href=\""))
    }

    #[test]
    fn whatever_the_page_names_is_there_and_nothing_is_from_elsewhere() {
        for asset in ASSETS {
            for name in named(text(asset)) {
                if name.starts_with('#') || name.starts_with("data:") {
                    continue;
                }
                let path = format!("/{name}");
                assert!(
                    ASSETS.iter().any(|other| other.path == path),
                    "{} names {name}",
                    asset.path
                );
            }
        }
        // The names of the vocabularies of SVG are addresses that nobody loads.
        for asset in ASSETS {
            let own = text(asset).replace("http://www.w3.org/", "");
            for scheme in ["http://", "https://", "//cdn"] {
                let at = own.find(scheme);
                let around = at.map(|at| &own[at..own.len().min(at + 60)]);
                assert!(around.is_none(), "{}: {around:?}", asset.path);
            }
        }
    }

    #[test]
    fn paths_are_there_once() {
        for (at, asset) in ASSETS.iter().enumerate() {
            assert!(
                ASSETS[at + 1..]
                    .iter()
                    .all(|other| other.path != asset.path)
            );
        }
    }
}
