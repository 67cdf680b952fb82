//! The list of what is taken out to see whether a test notices (`tests/mutations`) has not fallen behind the code.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Calls after which something is durable. A `.` in front tells a call from a word that ends so.
const SYNCS: &[&str] = &[".sync(", ".sync_all(", ".sync_data(", ".sync_file(", "sync_dir(", "write_synced("];
/// Calls that compute a checksum, to be written or compared.
const CHECKSUMS: &[&str] = &["crc32fast::hash(", "checksum_fits("];

fn list() -> toml::Table {
    let list = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("mutations/list.toml")).unwrap();
    list.parse().unwrap()
}

fn mutations() -> Vec<toml::Table> {
    let Some(toml::Value::Array(list)) = list().remove("mutation") else { panic!("no list") };
    list.into_iter().map(|entry| entry.as_table().unwrap().clone()).collect()
}

/// How often one of `names` is called in a file, outside of comments and of the tests at its end.
fn calls(text: &str, names: &[&str]) -> usize {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let calls =
        |line: &str, name: &&str| line.matches(*name).count() - line.matches(&format!("fn {name}")).count();
    lines.flat_map(|line| names.iter().map(move |name| calls(line, name))).sum()
}

/// Source files below `dir` but those of tests and of the simulated disk.
fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.file_name().unwrap().to_str().unwrap() {
            "tests" | "tests.rs" | "sim" | "sim.rs" => {}
            _ if path.is_dir() => sources(&path, into),
            name if name.ends_with(".rs") => into.push(path),
            _ => {}
        }
    }
}

#[test]
fn calls_are_counted_in_code_only() {
    let text = "/// .sync()\nfn sync_dir(&self) {\n    file.sync()?; self.sync_dir(dir)?;\n}\n";
    assert_eq!(calls(text, SYNCS), 2);
    let tests = format!("{text}#[cfg(test)]\nmod tests {{\n    file.sync()\n}}\n");
    assert_eq!(calls(&tests, SYNCS), 2);
}

/// The counts are in the list, beside the mutations, so that who adds a sync is told to add what takes it out.
#[test]
fn no_sync_and_no_checksum_was_added_that_nothing_takes_out() {
    let (root, list) = (Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap(), list());
    let mut files = Vec::new();
    sources(&root.join("graphited/store/src"), &mut files);
    let mut amiss = Vec::new();
    for (what, table, names) in [("sync", "syncs", SYNCS), ("checksum", "checksums", CHECKSUMS)] {
        let listed = list[table].as_table().unwrap().iter();
        let mut listed: BTreeMap<&str, i64> =
            listed.map(|(file, count)| (file.as_str(), count.as_integer().unwrap())).collect();
        for path in &files {
            let file = path.strip_prefix(root).unwrap().to_str().unwrap();
            let found = i64::try_from(calls(&fs::read_to_string(path).unwrap(), names)).unwrap();
            let counted = listed.remove(file).unwrap_or(0);
            if found > counted {
                amiss.push(format!(
                    "a {what} was added in {file}: add a mutation that removes it and raise the count from \
                     {counted} to {found}"
                ));
            } else if found < counted {
                amiss.push(format!("a {what} went from {file}: lower the count from {counted} to {found}"));
            }
        }
        amiss.extend(listed.keys().map(|file| format!("{file} is counted in [{table}], and is not there")));
    }
    assert!(amiss.is_empty(), "tests/mutations/list.toml has fallen behind:\n{}", amiss.join("\n"));
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
