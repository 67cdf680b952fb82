//! Names out and back in, limits, snapshots, and damage.

use std::collections::BTreeSet;

use graphite_store::MemPager;
use proptest::prelude::*;

use super::*;

#[test]
fn a_new_database_knows_the_empty_set_and_nothing_else() {
    let catalog = Catalog::load(&MemPager::default()).unwrap();
    assert_eq!(catalog.label_set(&[]), Some(NO_LABELS));
    assert_eq!(catalog.labels_of(NO_LABELS), Some(&[][..]));
    assert_eq!((catalog.label_count(), catalog.type_count(), catalog.key_count()), (0, 0, 0));
    assert_eq!(catalog.label_set_count(), 1);
    assert_eq!(catalog.label_id("Person"), None);
    assert_eq!(catalog.label_name(LabelId(0)), None);
    assert_eq!(catalog.labels_of(LabelSetId(1)), None);
}

#[test]
fn names_are_found_both_ways_and_survive() {
    let mut w = MemPager::default();
    let mut catalog = Catalog::default();
    let person = catalog.add_label(&mut w, "Person").unwrap();
    let city = catalog.add_label(&mut w, "Stadt: Köln").unwrap();
    let knows = catalog.add_type(&mut w, "KNOWS").unwrap();
    let name = catalog.add_key(&mut w, "Person").unwrap();
    let both = catalog.add_label_set(&mut w, &[city, person, city]).unwrap();
    assert_eq!(
        (person, city, knows, name, both),
        (LabelId(0), LabelId(1), TypeId(0), KeyId(0), LabelSetId(1))
    );
    assert_eq!(catalog.add_label(&mut w, "Person").unwrap(), person, "there already");
    assert_eq!(catalog.add_label_set(&mut w, &[person, city]).unwrap(), both, "there already");
    assert_eq!(catalog.add_label_set(&mut w, &[]).unwrap(), NO_LABELS);
    for catalog in [&catalog, &Catalog::load(&w).unwrap()] {
        assert_eq!(catalog.label_id("Stadt: Köln"), Some(city));
        assert_eq!(catalog.label_name(city), Some("Stadt: Köln"));
        assert_eq!(catalog.type_id("KNOWS"), Some(knows));
        assert_eq!(catalog.type_name(knows), Some("KNOWS"));
        assert_eq!(catalog.key_id("Person"), Some(name));
        assert_eq!(catalog.key_name(name), Some("Person"));
        assert_eq!(catalog.label_set(&[person, city]), Some(both));
        assert_eq!(catalog.labels_of(both), Some(&[person, city][..]));
        assert_eq!(catalog.label_set(&[city]), None);
    }
}

#[test]
fn golden_entries() {
    let mut w = MemPager::default();
    let mut catalog = Catalog::default();
    catalog.add_label(&mut w, "A").unwrap();
    catalog.add_key(&mut w, "k").unwrap();
    catalog.add_type(&mut w, &"t".repeat(PIECE_BYTES_MAX)).unwrap();
    catalog.add_label(&mut w, "B").unwrap();
    catalog.add_label_set(&mut w, &[LabelId(0), LabelId(1)]).unwrap();
    let mut entries = Vec::new();
    let mut cursor = read_root(&w).unwrap().cursor_at_start();
    while let Some(entry) = cursor.next(&w).unwrap() {
        entries.push(entry);
    }
    let golden: [([u8; 7], &[u8]); 6] = [
        ([1, 0, 0, 0, 0, 0, 0], b"A"),
        ([1, 0, 0, 0, 1, 0, 0], b"B"),
        ([2, 0, 0, 0, 0, 0, 0], &[b't'; 1024]),
        ([2, 0, 0, 0, 0, 0, 1], b""),
        ([3, 0, 0, 0, 0, 0, 0], b"k"),
        ([4, 0, 0, 0, 1, 0, 0], &[0, 0, 0, 0, 1, 0, 0, 0]),
    ];
    assert_eq!(entries, golden.map(|(key, piece)| (key.to_vec(), piece.to_vec())));
}

#[test]
fn a_clone_does_not_see_what_is_added_later() {
    let mut w = MemPager::default();
    let mut catalog = Catalog::default();
    catalog.add_key(&mut w, "old").unwrap();
    let before = catalog.clone();
    catalog.add_key(&mut w, "new").unwrap();
    assert_eq!((before.key_count(), catalog.key_count()), (1, 2));
    assert_eq!(before.key_id("new"), None);
}

#[test]
fn names_of_every_length_survive() {
    let mut w = MemPager::default();
    let mut catalog = Catalog::default();
    let lens = [1, 1023, 1024, 1025, 2047, 2048, 2049, NAME_BYTES_MAX];
    for len in lens {
        catalog.add_label(&mut w, &"x".repeat(len)).unwrap();
    }
    let loaded = Catalog::load(&w).unwrap();
    for (number, len) in (0..).zip(lens) {
        assert_eq!(loaded.label_name(LabelId(number)).map(str::len), Some(len));
    }
    let mut owned = BTreeSet::from([STATE_PAGE]);
    visit_catalog_pages(&w, &mut |page| assert!(owned.insert(page))).unwrap();
    assert_eq!(owned, w.page_numbers().collect());
}

#[test]
fn limits_are_kept_and_leave_the_catalog_as_it_was() {
    let mut w = MemPager::default();
    let mut catalog = Catalog::default();
    assert!(matches!(catalog.add_label(&mut w, ""), Err(Error::EmptyName { what: "a label" })));
    let long = "x".repeat(NAME_BYTES_MAX + 1);
    assert!(matches!(catalog.add_key(&mut w, &long), Err(Error::TooLong { bytes: 65_536, .. })));
    assert_eq!((catalog.label_count(), catalog.key_count()), (0, 0));
    for number in 0..TYPES_MAX {
        catalog.add_type(&mut w, &format!("T{number}")).unwrap();
    }
    assert!(matches!(catalog.add_type(&mut w, "one more"), Err(Error::TooMany { max: 65_535, .. })));
    assert_eq!(catalog.add_type(&mut w, "T65534").unwrap(), TypeId(65_534));
    assert_eq!(Catalog::load(&w).unwrap().type_count(), TYPES_MAX);
}

#[test]
fn large_label_sets_survive() {
    let mut w = MemPager::default();
    let mut catalog = Catalog::default();
    let labels: Vec<LabelId> =
        (0..1000).map(|number| catalog.add_label(&mut w, &format!("L{number}")).unwrap()).collect();
    let set = catalog.add_label_set(&mut w, &labels).unwrap();
    assert_eq!(Catalog::load(&w).unwrap().labels_of(set), Some(&labels[..]));
}

#[test]
fn damage_is_an_error() {
    let long = [b'x'; PIECE_BYTES_MAX];
    let damages: [(&[u8], &[u8]); 12] = [
        (&[1, 0, 0, 0, 5, 0, 0], b"gap"),
        (&[1, 0, 0, 0, 1, 0, 1], b"no first piece"),
        (&[1, 0, 0, 0, 1, 0, 0], b""),
        (&[1, 0, 0, 0, 1, 0, 0], &[0xff]),
        (&[1, 0, 0, 0, 1, 0, 0], b"A"),
        (&[1, 0, 0, 0, 1, 0, 0], &long),
        (&[4, 0, 0, 0, 0, 0, 0], &[0, 0, 0, 0]),
        (&[4, 0, 0, 0, 1, 0, 0], &[1, 0, 0, 0]),
        (&[4, 0, 0, 0, 1, 0, 0], &[0, 0, 0, 0, 0, 0, 0, 0]),
        (&[4, 0, 0, 0, 1, 0, 0], &[0, 0, 0]),
        (&[5, 0, 0, 0, 0, 0, 0], b"unknown kind"),
        (&[1, 0, 0], b"short key"),
    ];
    for (key, value) in damages {
        let mut w = MemPager::default();
        Catalog::default().add_label(&mut w, "A").unwrap();
        let mut tree = read_root(&w).unwrap();
        tree.insert(&mut w, key, value).unwrap();
        w.set_state(state::CATALOG_ROOT, u64::from(tree.root().unwrap().0)).unwrap();
        assert!(matches!(Catalog::load(&w), Err(Error::Corrupt { .. })), "{key:?}");
    }
    let mut w = MemPager::default();
    w.set_state(state::CATALOG_ROOT, 1 << 40).unwrap();
    assert!(Catalog::load(&w).is_err());
}

proptest! {
    #[test]
    fn what_was_added_is_what_is_loaded(names in prop::collection::vec(".{1,8}", 1..40), sets in
        prop::collection::vec(prop::collection::vec(any::<prop::sample::Index>(), 0..5), 0..20))
    {
        let mut w = MemPager::default();
        let mut catalog = Catalog::default();
        let mut model: Vec<&str> = Vec::new();
        for name in &names {
            let expected = model.iter().position(|known| known == name).unwrap_or(model.len());
            if expected == model.len() {
                model.push(name);
            }
            prop_assert_eq!(catalog.add_label(&mut w, name).unwrap(), LabelId(expected as u32));
        }
        let sets: Vec<BTreeSet<LabelId>> = sets
            .into_iter()
            .map(|set| set.into_iter().map(|index| LabelId(index.index(model.len()) as u32)).collect())
            .collect();
        for set in &sets {
            catalog.add_label_set(&mut w, &set.iter().rev().copied().collect::<Vec<_>>()).unwrap();
        }
        let loaded = Catalog::load(&w).unwrap();
        prop_assert_eq!(loaded.label_count() as usize, model.len());
        for (number, name) in model.iter().enumerate() {
            prop_assert_eq!(loaded.label_name(LabelId(number as u32)), Some(*name));
        }
        let distinct: BTreeSet<_> = sets.iter().filter(|set| !set.is_empty()).collect();
        prop_assert_eq!(loaded.label_set_count() as usize, 1 + distinct.len());
        for set in &sets {
            let labels: Vec<LabelId> = set.iter().copied().collect();
            let number = loaded.label_set(&labels).unwrap();
            prop_assert_eq!(loaded.labels_of(number), Some(&labels[..]));
        }
    }
}
