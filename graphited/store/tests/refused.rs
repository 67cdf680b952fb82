//! What is refused, and left as it is: files that are no database of ours, and what somebody else has made of one.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::path::PathBuf;

use graphite_store::disk::SimDisk;
use graphite_store::{Error, PAGE_BYTES, PageKind, PageReader, PageWriter};
use support::{PATH, open};

#[test]
fn a_file_that_is_something_else_is_refused_and_untouched() {
    let cases: [(&[u8], &str); 3] =
        [(b"", "0 bytes"), (b"SQLite format 3\0 and more", "SQLite format 3"), (&[7; 20_000], "\\x07")];
    for (bytes, expected) in cases {
        let disk = SimDisk::new();
        disk.write_file(PATH, bytes).unwrap();
        let error = open(&disk).unwrap_err();
        assert!(matches!(error, Error::NotADatabase { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(disk.read_file(PATH).unwrap(), bytes);
        assert_eq!(disk.files(), [PathBuf::from(PATH)]);
    }
}

#[test]
fn another_format_version_is_refused_with_both_numbers() {
    let disk = SimDisk::new();
    drop(open(&disk).unwrap());
    let disk = disk.process_crash();
    for copy in 0..2 {
        disk.corrupt(PATH, copy * PAGE_BYTES as u64 + 16, 4, |bytes| {
            bytes.copy_from_slice(&9u32.to_le_bytes())
        })
        .unwrap();
    }
    let before = disk.read_file(PATH).unwrap();
    let error = open(&disk).unwrap_err();
    assert!(matches!(error, Error::FormatVersion { found: 9, expected: 1, .. }), "{error}");
    assert_eq!(disk.read_file(PATH).unwrap(), before);
}

#[test]
fn a_truncated_database_is_refused_or_its_missing_pages_are_named() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let mut turn = store.turn().unwrap();
    let page = turn.allocate(PageKind::Record).unwrap();
    turn.commit().unwrap();
    store.close().unwrap();
    drop(store);
    let whole = disk.read_file(PATH).unwrap();
    for len in [1, 16, 100, PAGE_BYTES, 2 * PAGE_BYTES - 1] {
        let disk = disk.process_crash();
        disk.write_file(PATH, &whole[..len]).unwrap();
        // From the whole magic on it is plain what the file was.
        let error = open(&disk).unwrap_err();
        match len {
            ..16 => assert!(matches!(error, Error::NotADatabase { .. }), "{error}"),
            _ => {
                assert!(matches!(error, Error::CorruptSuperblock { .. }), "{error}");
                assert!(error.to_string().contains(&format!("cut off after {len} bytes")), "{error}");
            }
        }
        assert_eq!(disk.read_file(PATH).unwrap().len(), len);
    }
    let disk = disk.process_crash();
    disk.write_file(PATH, &whole[..page.offset() as usize + 10]).unwrap();
    let store = open(&disk).unwrap();
    let error = store.snapshot().unwrap().page(page).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::CorruptPage { page: p, .. } if p == page), "{error}");
}

#[test]
fn a_second_owner_is_refused() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    assert!(matches!(open(&disk), Err(Error::InUse { .. })));
    drop(store);
    open(&disk).unwrap();
    disk.set_links(PATH, 2).unwrap();
    assert!(matches!(open(&disk), Err(Error::HardLinked { .. })));
}

/// Somebody put the file of one day beside the log of another, say. A change of such a page could not be redone.
#[test]
fn a_page_that_is_newer_than_the_log_is_refused() {
    let disk = SimDisk::new();
    let store = open(&disk).unwrap();
    let mut turn = store.turn().unwrap();
    let page = turn.allocate(PageKind::Record).unwrap();
    turn.page_mut(page).unwrap().body_mut()[0] = 1;
    turn.commit().unwrap();
    store.checkpoint().unwrap();
    let end = store.applied_lsn();
    drop(store);
    for (above, is_refused) in [(0, false), (1, true)] {
        let disk = disk.process_crash();
        let mut bytes = disk.read_file(PATH).unwrap();
        let raw = &mut bytes[page.offset() as usize..][..PAGE_BYTES];
        raw[16..24].copy_from_slice(&(end.0 + above).to_le_bytes());
        let checksum = crc32fast::hash(&raw[4..]);
        raw[..4].copy_from_slice(&checksum.to_le_bytes());
        disk.write_file(PATH, &bytes).unwrap();
        let store = open(&disk).unwrap();
        let refused = |error: Option<Error>| match error {
            Some(error) => error.to_string().contains("the log ends at"),
            None => false,
        };
        assert_eq!(refused(store.snapshot().unwrap().page(page).err()), is_refused);
        assert_eq!(refused(store.turn().unwrap().page_mut(page).err()), is_refused);
    }
}
