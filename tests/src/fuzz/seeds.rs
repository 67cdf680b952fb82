//! What the fuzzer begins with: real encodings, so that it need not guess formats.

use graphite_client::cli::{CsvOptions, read_csv};
use graphite_graph::Value as Stored;
use graphite_protocol::message::write_request;
use graphite_protocol::messages::{
    Commit, EdgeBatch, FetchReply, Hello, HelloReply, ImportEdges, ImportNodes, LocksReply, NodeBatch, Ping,
    Query, Run, RunReply, SessionsReply, Summary,
};
use graphite_protocol::{
    Comparison, DateTime, Direction, Edge, Encoder, EntityRef, ErrorCode, Expansion, FRAME_BYTES_MAX,
    NewEdge, NewNode, Node, Operand, OrderBy, PROTOCOL_VERSION, Pairs, Path, Plan, Step, Token, Value, Wire,
    WireError,
};
use graphite_top::{record, samples};

/// Inputs for a target, each with a name.
///
/// # Panics
/// If there is no such target.
pub fn of(target: &str) -> Vec<(String, Vec<u8>)> {
    let inputs = match target {
        "adjacency" => adjacency(),
        "csv_import" => csv_import(),
        "frames" => frames(),
        "messages" => messages(),
        "monitor_filter" => monitor_filter(),
        "pages" => edits(0, 0..40),
        "plans" => plans().into_iter().map(|run| encoded(&run)).collect(),
        "records" => records(),
        "trees" => trees(),
        "values" => values(),
        "wal" => [edits(0, 0..4), edits(1, 0..24), edits(1, 255..256)].concat(),
        other => panic!("there is no target {other:?}"),
    };
    inputs.into_iter().enumerate().map(|(number, input)| (format!("seed-{number:02}"), input)).collect()
}

fn encoded(value: &impl Wire) -> Vec<u8> {
    let mut out = Vec::new();
    value.write(&mut Encoder::new(&mut out));
    out
}

/// One small edit in each of some places; the first input changes nothing.
fn edits(first: u8, places: std::ops::Range<u16>) -> Vec<Vec<u8>> {
    let edit = |place: u16| {
        let place = u8::try_from(place).expect("a byte");
        vec![first, place, 20 + place % 40, 0, 2, 1, place]
    };
    // Those of pages have no byte in front.
    let cut = usize::from(first == 0 && places.len() > 30);
    [vec![first]].into_iter().chain(places.map(|place| edit(place)[cut..].to_vec())).collect()
}

fn adjacency() -> Vec<Vec<u8>> {
    let run = |type_: u8, first: u16, edge: u8, count: u8, step: u8| {
        let [low, high] = first.to_le_bytes();
        vec![type_, low, high, edge, count, step]
    };
    let damage = [2, 30, 0, 3, 1, 2, 3];
    vec![
        [&[2][..], &run(0, 1, 1, 5, 1), &run(1, 1, 1, 5, 1)].concat(),
        [&[2][..], &run(0, 1, 1, 250, 1), &run(0, 5, 5, 160, 2)].concat(),
        [&[3][..], &run(0, 1, 1, 250, 1), &run(1, 900, 5, 250, 2), &run(0, 1, 1, 250, 1), &damage].concat(),
        [&[1][..], &run(3, 1, 1, 7, 1), &damage, &damage, &run(3, 1, 1, 7, 1)].concat(),
        [
            &[4][..],
            &run(0, 1, 1, 255, 1),
            &run(4, 1, 1, 255, 3),
            &run(2, 1, 1, 255, 1),
            &run(0, 9, 9, 200, 1),
        ]
        .concat(),
    ]
}

fn csv_import() -> Vec<Vec<u8>> {
    let files = [
        (
            "p:ID(P),age:int,:LABEL\na,1,X\nb,,X;Y\n7,3,\n",
            ":START_ID(P),:END_ID(P),:TYPE\na,b,T\n7,a,T\nb,b,U\n",
        ),
        (
            "~id,~label,name,age:int\n1,A,\"a \"\"quoted\"\" one\",3\n2,A;B,\"two\nlines\",x\n",
            "~from,~to,~label\n1,2,T\n",
        ),
        (
            ":ID,a:float,b:boolean,c:date,d:datetime,e:duration,f:time,g:localtime,h:int[],i:string[]\n\
             1,0.5,true,2024-02-29,2024-02-29T12:00:00+01:00[Europe/Berlin],P1Y2M3DT4H5M6.7S,12:00Z,12:00:01,1;2,a;b\n",
            "",
        ),
        ("\u{feff}:ID,x\r\n1,\"\"\r\n\r\n2,\"x\"y\r\n1,z\r\n", ":START_ID,:END_ID\n1,1\n"),
        (
            ":ID,n,:IGNORE\n1,007,z\n2,8,\n3,-9,\n99999999999,1e3,q\n",
            ":START_ID,:END_ID,:TYPE,w:float\n1,99999999999,T,NaN\n",
        ),
        ("k:double\n1\n-inf\nx\n", ""),
    ];
    let mut inputs = Vec::new();
    for (nodes, edges) in files {
        for choices in [[0, 0, 0, 2], [0, 0, 0, 255]] {
            inputs.push([&choices[..], nodes.as_bytes(), b"\0", edges.as_bytes()].concat());
        }
    }
    inputs
}

/// A batch as the command sends it.
fn batches() -> (NodeBatch, EdgeBatch) {
    let options = CsvOptions {
        delimiter: b',',
        quote: Some(b'"'),
        array_delimiter: ';',
        infer: false,
        batch_rows: 100,
        read_bytes: 4096,
    };
    let nodes = b":ID,a:int,b:float,c,d:int[],:LABEL\n1,1,0.5,x,1;2,A\n2,,,,,A;B\n3,3,NaN,\"\",,\n";
    let edges = b":START_ID,:END_ID,:TYPE,w:int\n1,2,T,1\n2,3,U,\n";
    let mut read = read_csv(nodes, edges, &options);
    (read.nodes.remove(0), read.edges.remove(0))
}

fn plans() -> Vec<Run> {
    let name = |text: &str| text.to_owned();
    let keys = || vec![name("name"), name("age")];
    let filter =
        |key: &str, comparison, value: Option<Operand>| Step::Filter { key: key.into(), comparison, value };
    let expand = |to| Step::Expand { direction: Direction::Both, types: vec![name("KNOWS")], to };
    let all = || Step::Nodes { label: None };
    let row = |row| EntityRef::Row { pipeline: 0, row };
    let properties =
        || Pairs(vec![(name("age"), Operand::from(3)), (name("name"), Operand::Param(name("p")))]);
    let khop = Step::KHop { direction: Direction::Out, types: Vec::new(), min: 1, max: 3 };
    let read = vec![
        vec![all(), Step::Count {}],
        vec![Step::Nodes { label: Some(name("Person")) }, Step::Properties { keys: keys() }],
        vec![all(), filter("age", Comparison::Ge, Some(Operand::from(3))), Step::Ids {}],
        vec![all(), filter("name", Comparison::Contains, Some(Operand::Param(name("p"))))],
        vec![
            all(),
            filter("name", Comparison::Exists, None),
            Step::Degree { direction: Direction::In, types: Vec::new() },
        ],
        vec![all(), expand(Expansion::Nodes), Step::Distinct {}, Step::Count {}],
        vec![all(), expand(Expansion::Both), Step::HasLabel { label: name("City") }],
        vec![
            Step::Edges { edge_type: None },
            Step::Order { by: OrderBy::Key(name("age")), desc: true },
            Step::Limit { n: 5 },
        ],
        vec![Step::Node { ids: vec![EntityRef::Id(1), EntityRef::Param(name("p"))], required: false }, khop],
        vec![Step::Node { ids: vec![EntityRef::Param(name("p"))], required: true }],
        vec![Step::Edge { ids: vec![EntityRef::Id(2)], required: true }, Step::Skip { n: 1 }],
        vec![Step::ShortestPath {
            from: EntityRef::Id(1),
            to: EntityRef::Id(5),
            direction: Direction::Both,
            types: Vec::new(),
            max_hops: Some(4),
        }],
        vec![
            all(),
            Step::Order { by: OrderBy::Column(name("node")), desc: false },
            Step::Skip { n: 2 },
            Step::Limit { n: 3 },
        ],
        vec![all(), Step::Set { properties: properties() }],
        vec![all(), Step::Replace { properties: properties() }, Step::Properties { keys: keys() }],
        vec![
            all(),
            Step::AddLabels { labels: vec![name("New")] },
            Step::RemoveLabels { labels: vec![name("City")] },
        ],
        vec![all(), Step::Delete { detach: true }],
        vec![Step::Edges { edge_type: Some(name("IN")) }, Step::Delete { detach: false }],
        vec![Step::CreateNode { labels: vec![name("A")], properties: properties() }],
    ];
    let mut plans: Vec<Plan> = read.into_iter().map(Plan::of).collect();
    let node = || NewNode { labels: vec![name("A")], properties: properties() };
    let edge = |end| NewEdge { start: row(0), end, edge_type: name("T"), properties: Pairs(Vec::new()) };
    plans.push(
        Plan::of([Step::CreateNodes { rows: vec![node(), node()] }])
            .then([Step::CreateEdges { rows: vec![edge(row(1)), edge(EntityRef::Id(1))] }])
            .then([all(), Step::Count {}]),
    );
    let params = || Pairs(vec![(name("p"), Value::Int(3))]);
    let run = |plan| Run { plan, params: params(), fetch: Some(10), timeout_ms: None };
    plans.into_iter().map(run).collect()
}

fn wire_values() -> Vec<Value> {
    let node = |id| Node {
        id,
        labels: vec!["A".into(), "B".into()],
        properties: vec![("k".into(), Value::from("v")), ("l".into(), Value::List(vec![Value::Int(-1)]))],
    };
    let edge = Edge { id: 9, edge_type: "T".into(), start: 1, end: 2, properties: Vec::new() };
    let date_time =
        DateTime { seconds: 5, nanoseconds: 6, offset_seconds: 3600, zone: Some("Europe/Berlin".into()) };
    vec![
        Value::Nil,
        Value::Int(-70_000),
        Value::Float(f64::NAN),
        Value::from("text"),
        Value::List(vec![Value::Bool(true), Value::Bytes(vec![1, 2])]),
        Value::Node(node(1).into()),
        Value::Edge(edge.clone().into()),
        Value::Path(Path { nodes: vec![node(1), node(2)], edges: vec![edge] }.into()),
        Value::DateTime(date_time.into()),
    ]
}

fn messages() -> Vec<Vec<u8>> {
    let typed = |number: u8, bytes: Vec<u8>| [vec![number], bytes].concat();
    let picture = samples::chain().picture;
    let rows = vec![wire_values(), vec![Value::Nil]];
    let token = Token::new(*b"token").expect("it is short");
    let error = WireError::new(ErrorCode::BadRequest, "something is wrong");
    let (nodes, edges) = batches();
    let mut inputs: Vec<Vec<u8>> = wire_values().iter().map(|value| typed(0, encoded(value))).collect();
    for run in plans().iter().step_by(4) {
        inputs.push(typed(1, encoded(&run.plan)));
        inputs.push(typed(3, encoded(run)));
    }
    let columns = vec!["a".into(), "b".into()];
    let reply = RunReply { columns, rows: rows.clone(), cursor: Some(1), summary: Summary::default() };
    let query = Query {
        text: "MATCH (n) RETURN n".into(),
        params: Pairs::default(),
        fetch: None,
        timeout_ms: Some(5),
    };
    let hello = Hello { protocol: PROTOCOL_VERSION, client: "c/1".into(), monitor: Some(true) };
    let hello_reply = HelloReply {
        protocol: PROTOCOL_VERSION,
        server: "s/1".into(),
        session: 7,
        database: "/graph".into(),
        format_version: 1,
        pid: 5,
    };
    let locks = LocksReply {
        locks: picture.locks.clone(),
        deadlocks: picture.deadlocks.clone(),
        held: 3,
        awaited: 1,
    };
    inputs.extend([
        typed(2, encoded(&error)),
        typed(4, encoded(&reply)),
        typed(5, encoded(&query)),
        typed(6, encoded(&FetchReply { rows, cursor: None })),
        typed(8, encoded(&Commit { token: Some(token.clone()) })),
        typed(11, encoded(&hello)),
        typed(12, encoded(&hello_reply)),
        typed(13, encoded(&ImportNodes { import: token.clone(), batch: 3, nodes })),
        typed(14, encoded(&ImportEdges { import: token, batch: 4, edges })),
        typed(15, b"\x81\xa3ids\x92\x01\x05".to_vec()),
        typed(19, encoded(&picture.status)),
        typed(20, encoded(&SessionsReply { sessions: picture.sessions.clone() })),
        typed(21, encoded(&locks)),
        typed(22, encoded(&picture)),
        typed(25, vec![0x80]),
    ]);
    inputs
}

fn frames() -> Vec<Vec<u8>> {
    let mut stream = Vec::new();
    write_request(&mut stream, 1, &Ping {}, FRAME_BYTES_MAX).expect("it is short");
    let ping = stream.clone();
    for run in plans().iter().take(3) {
        write_request(&mut stream, 2, run, FRAME_BYTES_MAX).expect("it is short");
    }
    let error = WireError::new(ErrorCode::TooLarge, "too large").with_detail("bytes", 5);
    let mut answer = Vec::new();
    graphite_protocol::message::write_error(&mut answer, 3, &error, FRAME_BYTES_MAX);
    let picture = record::encoded(&samples::quiet().picture).expect("it fits");
    vec![
        [&[3, 255][..], &ping, &ping].concat(),
        [&[63, 20][..], &stream].concat(),
        [&[7, 20][..], &answer, &ping].concat(),
        [&[50, 255][..], &picture].concat(),
        vec![1, 1, 0, 0, 0, 0],
        vec![1, 1, 0, 0, 255, 0],
    ]
}

fn monitor_filter() -> Vec<Vec<u8>> {
    let texts = [
        "user=bob and wait>1s",
        "sid=17 or user=dave and wait>1m",
        "(sid=17 or user=dave) and wait>1s",
        "not wait>0s and tx>1m",
        "\"node 8812\"",
        "wait=- and state!=idle",
        "client!~api and blk>=1",
        "mode=x or lock~node",
        "ETL",
        "wait<=0.1m",
    ];
    let mut inputs: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    let picture = record::encoded(&samples::chain().picture).expect("it fits");
    inputs.push([&b"user=bob\0"[..], &picture].concat());
    inputs
}

fn records() -> Vec<Vec<u8>> {
    let insert = |len: u8| [1, 0, len, 0];
    let update = |slot: u8, len: u8| [2, slot, len, 0];
    let remove = |slot: u8| [3, slot, 0, 0];
    vec![
        [&[0][..], &insert(10), &insert(20), &update(0, 30), &remove(1), &insert(5)].concat(),
        [&[0][..], &[0x81, 0, 0, 8].repeat(5), &remove(2), &insert(60), &[0x82, 1, 0, 9]].concat(),
        [&[0][..], &insert(60).repeat(120), &remove(3), &remove(9), &update(4, 63), &[0x81, 0, 200, 0]]
            .concat(),
        // Two records of four bytes, the second of which is free.
        [&[1, 0, 0, 0, 18][..], &[2, 0, 1, 0, 4, 0, 0, 0, 1, 0, 0xe4, 0x1f, 4, 0, 0, 0, 0, 0], &insert(4)]
            .concat(),
    ]
}

fn trees() -> Vec<Vec<u8>> {
    let run = |what: u8, first: u8, count: u8, key: u8, value: u8| vec![what, first, 0, count, key, value, 0];
    let damage = [1, 9, 0, 2, 7, 7];
    vec![
        [&[2][..], &run(1, 0, 31, 5, 20), &run(3, 0, 9, 5, 0)].concat(),
        [&[9][..], &run(1, 0, 31, 120, 250).repeat(8), &run(3, 20, 31, 120, 0)].concat(),
        [&[5][..], &run(1, 0, 31, 200, 255).repeat(4), &run(4, 3, 31, 250, 9), &damage, &damage].concat(),
    ]
}

fn values() -> Vec<Vec<u8>> {
    let values = [
        Stored::Null,
        Stored::Bool(true),
        Stored::Int(5),
        Stored::Int(-300),
        Stored::Float(f64::NAN),
        Stored::from("text"),
        Stored::Bytes(vec![1, 2, 3]),
        Stored::List(vec![Stored::Int(1), Stored::List(vec![Stored::from("x")])]),
        Stored::Date { days: -1 },
        Stored::LocalTime { nanos: 5 },
        Stored::Time { nanos: 5, offset: -3600 },
        Stored::LocalDateTime { seconds: 1, nanos: 2 },
        Stored::DateTime { seconds: 1, nanos: 2, offset: 3600, zone: Some("Europe/Berlin".into()) },
        Stored::DateTime { seconds: 1, nanos: 2, offset: 0, zone: None },
        Stored::Duration { months: 1, days: -2, seconds: 3, nanos: 4 },
    ];
    let encode = |value: &Stored| {
        let mut out = Vec::new();
        graphite_graph::value_codec::encode(value, &mut out).expect("a property can hold it");
        out
    };
    values.iter().map(encode).collect()
}
