//! That something is not there is seen, and stays so: phantoms, empty slots, whole tables, names.

use super::*;

#[test]
fn phantoms_of_a_label_are_prevented() {
    let (db, [a]) = nodes();
    let first = begin(&db);
    assert_eq!(labelled(&first, PERSON).unwrap(), 1);
    assert_waits(begin(&db).create_node(&[CITY, PERSON], &[]));
    assert_waits(begin(&db).remove_label(a, PERSON));
    assert_waits(begin(&db).add_label(a, CITY).map(|_| ()));
    assert_waits(begin(&db).delete_node(a, true));
    // Another label has nothing to do with it, nor has what the scan did not look at.
    let mut other = begin(&db);
    other.create_node(&[CITY], &[]).unwrap();
    put(&mut other, a, 5).unwrap();
    other.commit().unwrap();
    assert_eq!(labelled(&first, PERSON).unwrap(), 1);
    // And the other way round: whoever has changed a label's members is waited for.
    drop(first);
    let mut creator = begin(&db);
    creator.create_node(&[PERSON], &[]).unwrap();
    assert_waits(labelled(&begin(&db), PERSON));
    assert_eq!(labelled(&begin(&db), CITY).unwrap(), 1);
}

#[test]
fn phantoms_of_whole_scans_and_counts_are_prevented() {
    let (db, [a, b]) = nodes();
    let between = edge(&db, a, b);
    for look in 0..2 {
        let first = begin(&db);
        match look {
            0 => assert_eq!(first.scan_nodes(None, None, 100).unwrap().found.len(), 2),
            _ => assert_eq!(first.node_count().unwrap(), 2),
        }
        assert_waits(begin(&db).create_node(&[], &[]));
        assert_waits(begin(&db).delete_node(a, true));
        assert_waits(put(&mut begin(&db), a, 1));
    }
    for look in 0..2 {
        let first = begin(&db);
        match look {
            0 => assert_eq!(first.scan_edges(None, None, 100).unwrap().found.len(), 1),
            _ => assert_eq!(first.edge_count().unwrap(), 1),
        }
        assert_waits(begin(&db).create_edge(a, LIKES, b, &[]));
        assert_waits(begin(&db).delete_edge(between));
        put(&mut begin(&db), a, 1).unwrap();
    }
    let first = begin(&db);
    assert_eq!(first.scan_edges(None, Some(LIKES), 100).unwrap().found.len(), 0);
    assert_waits(begin(&db).create_edge(a, LIKES, b, &[]));
    begin(&db).create_edge(a, KNOWS, b, &[]).unwrap();
    begin(&db).delete_edge(between).unwrap();
}

#[test]
fn that_something_is_not_there_is_a_read_too() {
    let (db, [a]) = nodes();
    let gone = {
        let mut tx = begin(&db);
        let gone = tx.create_node(&[], &[]).unwrap();
        tx.commit().unwrap();
        let mut tx = begin(&db);
        tx.delete_node(gone, false).unwrap();
        tx.commit().unwrap();
        gone
    };
    let first = begin(&db);
    assert_eq!(first.node_head(gone).unwrap(), None);
    // The slot is not used for another meanwhile, but nobody waits because of that.
    let mut second = begin(&db);
    let node = second.create_node(&[], &[]).unwrap();
    assert_ne!(node.slot(), gone.slot());
    second.commit().unwrap();
    assert_eq!(first.degree(a, Direction::Both, None).unwrap(), 0);
    assert_waits(begin(&db).create_edge(a, KNOWS, node, &[]));
}

/// The slot where an edge is not is not used for another while somebody has seen that.
#[test]
fn that_an_edge_is_not_there_is_a_read_too() {
    let (db, [a, b]) = nodes();
    let gone = edge(&db, a, b);
    let mut tx = begin(&db);
    tx.delete_edge(gone).unwrap();
    tx.commit().unwrap();
    let first = begin(&db);
    assert_eq!(first.edge_head(gone).unwrap(), None);
    let mut second = begin(&db);
    assert_ne!(second.create_edge(a, KNOWS, b, &[]).unwrap().slot(), gone.slot());
}

/// Else each that waits for a scan to end would have looked for a place in eight other pages first.
#[test]
fn who_waits_for_a_whole_table_sets_no_slot_aside() {
    let (db, [a, b]) = nodes();
    let last = edge(&db, a, b);
    let first = begin(&db);
    assert_eq!(first.node_count().unwrap(), 2);
    assert_waits(begin(&db).create_node(&[], &[]));
    drop(first);
    let first = begin(&db);
    assert_eq!(first.edge_count().unwrap(), 1);
    assert_waits(begin(&db).create_edge(a, KNOWS, b, &[]));
    drop(first);
    let mut second = begin(&db);
    let (node, edge) = (second.create_node(&[], &[]).unwrap(), second.create_edge(a, KNOWS, b, &[]).unwrap());
    assert_eq!(node_lock(node.slot()).parent(), node_lock(b.slot()).parent(), "not on the same page");
    assert_eq!(edge_lock(edge.slot()).parent(), edge_lock(last.slot()).parent(), "not on the same page");
}

/// Somebody has seen that there is nothing in the slots that would be used next.
#[test]
fn nothing_new_goes_where_somebody_has_seen_that_nothing_is() {
    let (db, [a, b]) = nodes();
    let last = edge(&db, a, b);
    let first = begin(&db);
    let empty = 1..20;
    for step in empty.clone() {
        let node = graphite_graph::NodeSlot(b.slot().0 + step);
        assert_eq!(first.node_head(NodeId::new(node, 0)).unwrap(), None);
        let edge = graphite_graph::EdgeSlot(last.slot().0 + step);
        assert_eq!(first.edge_head(EdgeId::new(edge, 0)).unwrap(), None);
    }
    let mut second = begin(&db);
    let (node, edge) = (second.create_node(&[], &[]).unwrap(), second.create_edge(a, KNOWS, b, &[]).unwrap());
    assert!(!empty.contains(&(node.slot().0 - b.slot().0)), "{node}");
    assert!(!empty.contains(&(edge.slot().0 - last.slot().0)), "{edge}");
}

/// Two that look for a label that nobody has used, find nothing, and then make a node with it.
#[test]
fn a_name_that_nobody_has_used_is_locked_by_looking_for_it() {
    let (db, [node]) = nodes();
    let (first, mut second) = (begin(&db), begin(&db));
    let label = first.label_named("Ghost").unwrap().unwrap();
    assert_eq!(labelled(&first, label).unwrap(), 0);
    assert_eq!(second.label_named("Ghost").unwrap(), Some(label));
    assert_waits(second.create_node(&[label], &[]));
    let key = first.key_named("haunted").unwrap().unwrap();
    assert_eq!(first.property(node, key).unwrap(), Some(Value::Null));
    let mut third = begin(&db);
    assert_waits(third.set_node_property(node, key, Value::Bool(true)));
    drop(first);
    assert_eq!(begin(&db).type_named("HAUNTS").unwrap(), db.catalog().type_id("HAUNTS"));

    assert_eq!(begin(&db).label_named("").unwrap(), None, "nothing can have it");
    assert_eq!(db.snapshot().unwrap().label_named("Spectre").unwrap(), None);
    assert_eq!(db.catalog().label_id("Spectre"), None, "a snapshot makes none");
}
