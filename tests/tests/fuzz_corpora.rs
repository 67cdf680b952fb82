//! Everything that the fuzzer ever found worth keeping, through the same functions, in every run of the tests.
//!
//! What a fault was found by is in the corpus of its target from then on.

use std::fs;
use std::path::{Path, PathBuf};

use graphite_tests::fuzz::{TARGETS, seeds};

fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The files of a corpus, in order.
fn corpus(target: &str) -> Vec<PathBuf> {
    let dir = fuzz_dir().join("corpus").join(target);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("it can be listed").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{}: the corpus is empty", dir.display());
    files
}

#[test]
fn every_input_of_every_corpus_holds() {
    // A failure of one says which input it was, and the others are tried all the same.
    let run = |(name, body): (&str, fn(&[u8]))| {
        let mut failed = Vec::new();
        for file in corpus(name) {
            let bytes = fs::read(&file).expect("it can be read");
            if std::panic::catch_unwind(|| body(&bytes)).is_err() {
                failed.push(file.display().to_string());
            }
        }
        failed
    };
    let failed: Vec<String> = TARGETS.into_iter().flat_map(run).collect();
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_target_has_its_file_and_no_other_is_there() {
    let mut found: Vec<String> = fs::read_dir(fuzz_dir().join("fuzz_targets"))
        .expect("targets are there")
        .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_string_lossy().into_owned()))
        .collect();
    found.sort();
    assert_eq!(found, TARGETS.map(|(name, _)| name));
    for name in found {
        let file = fuzz_dir().join("fuzz_targets").join(&name).with_extension("rs");
        let text = fs::read_to_string(file).expect("it can be read");
        assert!(text.contains(&format!("graphite_tests::fuzz::{name}(bytes)")), "{name}");
    }
}

/// What the fuzzer begins with is made by the code that writes it elsewhere. With GRAPHITE_FUZZ_SEEDS set it is written anew.
#[test]
fn every_corpus_has_the_encodings_of_today() {
    let writes = std::env::var_os("GRAPHITE_FUZZ_SEEDS").is_some();
    for (target, _) in TARGETS {
        let dir = fuzz_dir().join("corpus").join(target);
        fs::create_dir_all(&dir).expect("it can be made");
        for (name, bytes) in seeds::of(target) {
            let path = dir.join(name);
            if writes {
                fs::write(&path, &bytes).expect("it can be written");
            }
            let found = fs::read(&path).unwrap_or_default();
            assert!(found == bytes, "{}: set GRAPHITE_FUZZ_SEEDS to write it anew", path.display());
        }
    }
}
