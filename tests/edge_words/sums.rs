//! The check sums that the browser's client is held to as well.

use hopline::edge::Sum;
use hopline::edge::sum::entry;
use serde_json::Value;

#[test]
fn server_and_client_have_the_same_sums() {
    let place = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page/sums.json");
    let vectors = std::fs::read_to_string(place).expect(place);
    let vectors: Value = serde_json::from_str(&vectors).expect(place);
    let entries = vectors["entries"].as_array().unwrap();
    for vector in entries {
        let (key, value) = (
            vector["key"].as_str().unwrap(),
            vector["value"].as_str().unwrap(),
        );
        assert_eq!(entry(key, value), vector["sum"], "{vector}");
    }
    let views = vectors["views"].as_array().unwrap();
    for view in views {
        let pairs = view["entries"].as_array().unwrap().iter();
        let pairs = pairs.map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
        assert_eq!(Sum::of(pairs).value(), view["sum"], "{view}");
    }
    assert!(entries.len() > 5 && views.len() > 1);
}
