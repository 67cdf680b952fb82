//! The list of what is taken out to see whether a test notices (`tests/mutations`) has not fallen behind the code.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn mutations() -> Vec<toml::Table> {
    let list = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("mutations/list.toml")).unwrap();
    let mut list: toml::Table = list.parse().unwrap();
    let Some(toml::Value::Array(list)) = list.remove("mutation") else { panic!("no list") };
    list.into_iter().map(|entry| entry.as_table().unwrap().clone()).collect()
}

#[test]
fn what_is_taken_out_is_still_there_once() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let page = fs::read_to_string(root.join("docs/testing.md")).unwrap();
    let mut names = BTreeSet::new();
    for entry in mutations() {
        let of = |key: &str| entry[key].as_str().unwrap().to_owned();
        let name = of("name");
        let text = fs::read_to_string(root.join(of("file"))).unwrap();
        assert_eq!(
            text.matches(&of("find")).count(),
            1,
            "{name}: {} has changed; see tests/mutations",
            of("file")
        );
        assert_ne!(entry.get("replace").and_then(toml::Value::as_str), Some(of("find").as_str()), "{name}");
        assert!(page.contains(&format!("| {name} |")), "{name} is not in docs/testing.md");
        assert!(names.insert(name.clone()), "{name} is there twice");
    }
    assert!(names.len() > 100, "the list shrank");
}
