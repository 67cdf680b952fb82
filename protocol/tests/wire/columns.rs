//! Import batches: packed columns come back as they were, and contradictions are refused.

use graphite_protocol::message::{self, Message};
use graphite_protocol::messages::{
    Call, EdgeBatch, IdRange, ImportEdges, ImportNodes, ImportReply, NodeBatch,
};
use graphite_protocol::{
    Bitmap, Column, ColumnData, Decoder, Encoder, FRAME_BYTES_MAX, Packed, StringColumn, Token, Value, Wire,
};
use proptest::prelude::*;

fn encode(value: &impl Wire) -> Vec<u8> {
    let mut bytes = Vec::new();
    value.write(&mut Encoder::new(&mut bytes));
    bytes
}

fn decode<T: Wire>(bytes: &[u8]) -> Result<T, graphite_protocol::DecodeError> {
    let mut from = Decoder::new(bytes);
    let value = T::read(&mut from)?;
    from.finish()?;
    Ok(value)
}

/// A column made of the values themselves, in the form that suits them.
fn pack(values: &[Option<Value>]) -> ColumnData {
    let present = || Some(values.iter().map(Option::is_some).collect::<Bitmap>());
    match values.iter().flatten().next() {
        Some(Value::Int(_)) => ColumnData::Ints {
            values: Packed(
                values.iter().map(|value| value.as_ref().and_then(Value::as_int).unwrap_or(0)).collect(),
            ),
            present: present(),
        },
        Some(Value::String(_)) => ColumnData::Strings {
            values: values.iter().map(|value| value.as_ref().and_then(Value::as_str).unwrap_or("")).collect(),
            present: present(),
        },
        Some(Value::Float(_)) => ColumnData::Floats {
            values: Packed(
                values
                    .iter()
                    .map(|value| if let Some(Value::Float(float)) = value { *float } else { 0.0 })
                    .collect(),
            ),
            present: present(),
        },
        _ => ColumnData::Values(values.iter().map(|value| value.clone().unwrap_or(Value::Nil)).collect()),
    }
}

fn column_of(value: BoxedStrategy<Value>) -> impl Strategy<Value = Vec<Option<Value>>> {
    prop::collection::vec(prop::option::of(value), 0..40)
}

proptest! {
    #[test]
    fn a_column_gives_back_its_values(values in prop_oneof![
        column_of(any::<i64>().prop_map(Value::Int).boxed()),
        column_of((-1e9..1e9f64).prop_map(Value::Float).boxed()),
        column_of("[aä€]{0,5}".prop_map(Value::String).boxed()),
        column_of(any::<bool>().prop_map(Value::Bool).boxed()),
    ]) {
        let column = Column { key: "k".into(), data: pack(&values) };
        let arrived: Column = decode(&encode(&column)).unwrap();
        prop_assert_eq!(&arrived, &column);
        prop_assert_eq!(arrived.data.len(), values.len());
        for (row, value) in values.iter().enumerate() {
            prop_assert_eq!(arrived.data.get(row), value.clone().unwrap_or(Value::Nil));
        }
        prop_assert_eq!(arrived.data.get(values.len()), Value::Nil);
    }

    #[test]
    fn random_bytes_are_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..60), text in "[aä€]{0,6}") {
        let mut column = Vec::new();
        let mut out = Encoder::new(&mut column);
        out.map(4);
        out.str("key");
        out.str("k");
        out.str("text");
        out.str(&text);
        out.str("lengths");
        out.bytes(&bytes);
        out.str("present");
        out.bytes(&bytes);
        if let Ok(column) = decode::<Column>(&column) {
            (0..=column.data.len()).for_each(|row| drop(column.data.get(row)));
        }
    }
}

fn edges(count: u64) -> EdgeBatch {
    EdgeBatch {
        types: vec!["KNOWS".into()],
        edge_types: Packed(vec![0; count as usize]),
        starts: Packed((0..count).collect()),
        ends: Packed((0..count).map(|number| number * 7).collect()),
        columns: vec![Column {
            key: "since".into(),
            data: ColumnData::Ints { values: Packed((0..count as i64).collect()), present: None },
        }],
    }
}

#[test]
fn packed_numbers_are_little_endian_bytes() {
    assert_eq!(encode(&Packed(vec![1u64, 0x0203])), b"\xc4\x10\x01\0\0\0\0\0\0\0\x03\x02\0\0\0\0\0\0");
    assert_eq!(encode(&Packed(vec![-1i64])), b"\xc4\x08\xff\xff\xff\xff\xff\xff\xff\xff");
    assert_eq!(encode(&Packed(vec![7u32])), b"\xc4\x04\x07\0\0\0");
    assert!(decode::<Packed<u64>>(b"\xc4\x07\0\0\0\0\0\0\0").is_err());
}

#[test]
fn a_large_batch_of_edges_fits_into_a_frame() {
    let request = ImportEdges { import: Token::new(*b"load").unwrap(), batch: 3, edges: edges(200_000) };
    let mut out = Vec::new();
    message::write_request(&mut out, 1, &request, FRAME_BYTES_MAX).unwrap();
    let Message::Request { method, params, .. } = Message::read(&out[4..]).unwrap() else {
        panic!("no request")
    };
    let Call::ImportEdges(arrived) = Call::read(method, params).unwrap() else { panic!("another method") };
    assert_eq!(arrived.edges.check(), Ok(()));
    assert_eq!(arrived, request);
}

#[test]
fn batches_that_contradict_themselves_are_refused() {
    let broken = |change: fn(&mut EdgeBatch)| {
        let mut batch = edges(3);
        change(&mut batch);
        assert!(batch.check().is_err());
    };
    broken(|batch| batch.edge_types.0[1] = 1);
    broken(|batch| batch.starts.0.truncate(2));
    broken(|batch| batch.ends.0.push(1));
    broken(|batch| batch.columns[0].data = ColumnData::Values(vec![]));
    broken(|batch| batch.columns.push(batch.columns[0].clone()));

    let nodes = |place| NodeBatch {
        label_sets: vec![vec![], vec!["P".into(), "Q".into()]],
        labels: Packed(vec![0, place]),
        columns: vec![],
    };
    assert_eq!(nodes(1).check(), Ok(()));
    assert!(nodes(2).check().is_err());
    let request = ImportNodes { import: Token::new(*b"load").unwrap(), batch: 0, nodes: nodes(1) };
    assert_eq!(decode(&encode(&request)), Ok(request));
}

#[test]
fn columns_that_contradict_themselves_are_refused() {
    let column = |fields: &[(&str, &[u8])]| {
        let mut bytes = Vec::new();
        let mut out = Encoder::new(&mut bytes);
        out.map(fields.len() + 1);
        out.str("key");
        out.str("k");
        for (name, value) in fields {
            out.str(name);
            if *name == "text" { out.str(std::str::from_utf8(value).unwrap()) } else { out.bytes(value) }
        }
        decode::<Column>(&bytes)
    };
    let (one, two) = ([1, 0, 0, 0], [1, 0, 0, 0, 1, 0, 0, 0]);
    assert!(column(&[("text", b"a"), ("lengths", &one)]).is_ok());
    assert!(column(&[("text", b"a"), ("lengths", &one), ("present", &[1])]).is_ok());
    for fields in [
        &[("text", &b"a"[..])][..],
        &[("lengths", &one)],
        &[("text", b"a"), ("lengths", &two)],
        &[("text", b"abc"), ("lengths", &two)],
        &[("text", "ä".as_bytes()), ("lengths", &two)],
        &[("text", b"a"), ("lengths", &[0xff; 8])],
        &[("text", b"a"), ("lengths", &one), ("present", &[3])],
        &[("text", b"a"), ("lengths", &one), ("present", &[1, 0])],
        &[("text", b"a"), ("lengths", &one), ("present", &[])],
        &[("ints", &[0; 8]), ("floats", &[0; 8])],
        &[("ints", &[0; 8]), ("text", b"")],
        &[],
    ] {
        assert!(column(fields).is_err(), "{fields:?}");
    }
}

#[test]
fn strings_are_cut_where_their_lengths_say() {
    let strings: StringColumn = ["", "ä", "", "bc"].into_iter().collect();
    let rows: Vec<_> = (0..5).map(|row| strings.get(row)).collect();
    assert_eq!(rows, [Some(""), Some("ä"), Some(""), Some("bc"), None]);
}

#[test]
fn ranges_of_ids() {
    let reply = ImportReply { ids: vec![IdRange { first: 10, count: 3 }, IdRange { first: 90, count: 1 }] };
    assert_eq!(encode(&reply), b"\x81\xa3ids\x92\x92\x0a\x03\x92\x5a\x01");
    assert_eq!(decode(&encode(&reply)), Ok(reply.clone()));
    let ids: Vec<u64> = reply.ids.iter().flat_map(|range| range.ids()).collect();
    assert_eq!(ids, [10, 11, 12, 90]);
}
