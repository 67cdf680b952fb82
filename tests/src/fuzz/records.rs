//! The codecs of one page and of one value.

use std::collections::BTreeMap;

use graphite_graph::value_codec::{Seen, decode, encode, look, skip};
use graphite_store::{DatabaseId, PAGE_BODY_BYTES, Page, PageKind, PageNo, RawPage, record};

use super::input::Input;

const DATABASE: DatabaseId = DatabaseId(7);
const OPERATIONS_MAX: usize = 200;

/// A value as property records hold it: decoded, looked at and read over in the same bytes, and encoded again to what is
/// decoded to the same. `encode` refuses what no property can hold, and nothing else.
pub fn values(bytes: &[u8]) {
    let (mut decoded, mut looked, mut skipped) = (bytes, bytes, bytes);
    let value = decode(&mut decoded);
    let seen = look(&mut looked);
    match (&value, &seen) {
        (Ok(graphite_graph::Value::String(text)), Ok(Seen::Text(seen))) => assert_eq!(text, seen),
        (Ok(value), Ok(Seen::Value(seen))) => assert_eq!(format!("{value:?}"), format!("{seen:?}")),
        (Err(why), Err(again)) => assert_eq!(why, again),
        other => panic!("one is a value and the other is not: {other:?}"),
    }
    // Reading over does not look whether text is UTF-8, and takes all that decoding takes.
    let skipped_to = skip(&mut skipped).map(|()| skipped.len());
    let Ok(value) = value else { return };
    assert_eq!((looked.len(), skipped_to), (decoded.len(), Ok(decoded.len())));
    let mut written = Vec::new();
    if encode(&value, &mut written).is_err() {
        assert!(value.check_storable().is_err());
        return;
    }
    let mut again = written.as_slice();
    let value_again = decode(&mut again).expect("what was encoded is decoded");
    assert!(again.is_empty());
    assert_eq!(format!("{value_again:?}"), format!("{value:?}"));
    let mut twice = Vec::new();
    encode(&value_again, &mut twice).expect("it was encoded before");
    assert_eq!(twice, written);
}

/// A slotted page: its body is what the input says, or empty; then records come and go. Beside it is a map, if the page
/// proves that it is whole: then it stays so, and holds what the map holds. If it is not, nothing panics.
pub fn records(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let mut page = Page::new(PageNo(3), PageKind::Record, DATABASE);
    for _ in 0..input.byte() % 8 {
        // Header and directory are at the front, records at the end.
        let Some(edit) = input.edit() else { break };
        let at = match edit.place % 3 {
            0 => edit.at % 64,
            1 => edit.at % PAGE_BODY_BYTES,
            _ => PAGE_BODY_BYTES - 1 - edit.at % 256,
        };
        let len = edit.bytes.len().min(PAGE_BODY_BYTES - at);
        page.range_mut(at..at + len).copy_from_slice(&edit.bytes[..len]);
    }
    let raw = RawPage(Box::new(*page.seal()));
    let mut page = raw.check(PageNo(3), DATABASE).expect("it was sealed");

    let all = |page: &Page| -> BTreeMap<u16, Vec<u8>> {
        record::slots(page).map(|(slot, record)| (slot, record.to_vec())).collect()
    };
    let mut model = record::check(&page).is_ok().then(|| all(&page));
    for _ in 0..OPERATIONS_MAX {
        if input.is_empty() {
            break;
        }
        let (what, slot, len) = (input.byte(), u16::from(input.byte()), input.short());
        // Mostly short ones, so that a page takes many.
        let len = if what & 0x80 == 0 { len % 64 } else { len % (PAGE_BODY_BYTES + 8) };
        let record = vec![what | 1; len];
        let room = record::room(&page);
        let done = match what % 4 {
            0 | 1 => {
                let made = record::insert(&mut page, &record);
                if let (Some(model), Some(slot)) = (&mut model, made) {
                    assert!(model.insert(slot, record.clone()).is_none(), "the slot was taken");
                    assert!(len <= room);
                }
                if model.is_some() && made.is_none() {
                    assert!(len > room || room == 0, "there was room for it");
                }
                continue_checked(&page, &model);
                continue;
            }
            2 => record::update(&mut page, slot, &record),
            _ => record::remove(&mut page, slot),
        };
        if let Some(model) = &mut model {
            assert!(model.contains_key(&slot) || !done, "there is no such record");
            if done && what % 4 == 2 {
                model.insert(slot, record);
            } else if done {
                model.remove(&slot);
            } else if what % 4 == 3 {
                assert!(!model.contains_key(&slot), "it is not removed");
            }
        }
        continue_checked(&page, &model);
    }
}

fn continue_checked(page: &Page, model: &Option<BTreeMap<u16, Vec<u8>>>) {
    let Some(model) = model else {
        // Whatever is there, it can be looked at.
        record::slots(page).for_each(drop);
        record::fragmented(page);
        return;
    };
    assert_eq!(record::check(page), Ok(()));
    assert_eq!(record::is_empty(page), model.is_empty());
    assert!(record::slots(page).eq(model.iter().map(|(slot, record)| (*slot, record.as_slice()))));
}
