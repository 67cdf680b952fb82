//! Files in, files out: real graphs and weird ones, both header conventions, bad lines, batches of every size.
#![allow(clippy::unwrap_used, reason = "a test that fails panics")]

use std::path::{Path, PathBuf};

use graphite_client::{
    Client, Date, DateTime, Duration, LocalDateTime, LocalTime, NodeId, Props, Time, Value, props,
};
use graphite_tests::{Daemon, Scratch, contents, graphite, run, run_ok};

fn air_routes(name: &str) -> String {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../graphite-client/fixtures/air-routes");
    fixtures.join(format!("air-routes-latest-{name}.csv")).to_str().unwrap().to_owned()
}

/// Exports one database and imports the files into another; returns a client of each.
fn round_trip(scratch: &Scratch, from: &Path) -> (Client, Client, PathBuf) {
    let dir = scratch.path("out");
    let said = run_ok(graphite(from), &["export", dir.to_str().unwrap()]);
    // What it says to type is what is typed, in a shell.
    let line = said.lines().find_map(|line| line.strip_prefix("  graphite --db NEW.graphite ")).unwrap();
    let to = scratch.path("to.graphite");
    let program = graphite_tests::program("graphite");
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(format!("'{}' --db '{}' {line}", program.display(), to.display()));
    run_ok(shell, &[]);
    let open = |db: &Path| Client::connect(graphite_client::socket_path(db)).unwrap();
    (open(from), open(&to), dir)
}

#[test]
fn air_routes_come_back_as_they_went() {
    let scratch = Scratch::new();
    let db = scratch.path("from.graphite");
    let (nodes, edges) = (air_routes("nodes"), air_routes("edges"));
    let said = run_ok(graphite(&db), &["import", "--nodes", &nodes, "--edges", &edges]);
    assert!(said.starts_with("3,749 nodes and 57,645 edges in 2 batches"), "{said}");
    let (mut from, mut to, dir) = round_trip(&scratch, &db);
    let before = contents(&mut from);
    assert_eq!((before.nodes.len(), before.edges.len()), (3749, 57_645));
    assert!(contents(&mut to) == before, "the graphs differ");
    let header = std::fs::read_to_string(dir.join("nodes.csv")).unwrap();
    let header = header.lines().next().unwrap();
    assert!(header.starts_with(":ID,:LABEL,author:string,city:string,"), "{header}");
    assert!(header.contains(",lat:float,") && header.contains(",runways:int,"), "{header}");

    let again = run(graphite(&db), &["export", dir.to_str().unwrap()]);
    assert!(again.code == 1 && again.err.contains("--force"), "{again:?}");
    run_ok(graphite(&db), &["export", "--force", dir.to_str().unwrap()]);
}

/// Properties of every kind, with texts that have a meaning in CSV, in headers, in lists and in JSON.
fn weird_properties() -> Vec<Props> {
    let list = |items: &[&str]| Value::List(items.iter().map(|&item| item.into()).collect());
    let text =
        "quotes \" and \"\", commas, semi;colons\nlines\r\nCR\r tab\t \\ é 東京 🛫 \u{202e} \u{1b}[1m \0";
    vec![
        props! { "s" => text, "empty" => "", " lead" => " x ", "i" => i64::MIN, "f" => 0.1 + 0.2, "b" => true },
        props! { "s" => "", "i" => i64::MAX, "f" => f64::NAN, "b" => false, "a:b" => "colon", "x:ID" => "id" },
        props! { "f" => -0.0, "~id" => "tilde", ":LABEL" => "label", "a,b" => "comma", "a\nb" => "line", "q\"q" => 1 },
        props! { "f" => f64::INFINITY, "mixed" => 1, "type:int" => "typed name", "{brace}" => 1, "p(q)" => 2 },
        props! { "f" => f64::MIN_POSITIVE / 4.0, "mixed" => 1.0, "l" => list(&["a", "b"]), "ints" => vec![Value::from(1), 2.into()] },
        props! { "f" => 1e300, "mixed" => "1", "l" => list(&[]), "ints" => vec![Value::from(3)], "semi" => list(&["a;b", ""]) },
        props! { "bytes" => vec![0u8, 255, 10], "mixed" => true, "l" => list(&["", ""]), "deep" => vec![list(&["x"]), Value::Nil] },
        props! { "bytes" => vec![1u8], "mixed" => Date { days: 0 }, "nobytes" => Vec::<u8>::new(), "one" => list(&[""]) },
        props! {
            "d" => Date { days: -800_000 }, "lt" => LocalTime { nanoseconds: 86_399_999_999_999 },
            "t" => Time { nanoseconds: 1, offset_seconds: -3601 },
            "ldt" => LocalDateTime { seconds: -1, nanoseconds: 999_999_999 },
            "dt" => DateTime { seconds: 1_700_000_000, nanoseconds: 5, offset_seconds: 3600, zone: Some("Europe/Berlin".to_owned()) },
            "du" => Duration { months: -14, days: 3, seconds: -5, nanoseconds: 1 },
            "dates" => vec![Value::from(Date { days: 1 }), Date { days: 2 }.into()],
        },
        props! { "d" => Date { days: 4_000_000 }, "dt" => DateTime { seconds: 0, nanoseconds: 0, offset_seconds: 0, zone: None } },
        Props::new(),
        props! { "long" => "long ".repeat(60_000), "s" => "007", "null" => "null", "json" => "{\"date\": \"x\"}" },
    ]
}

#[test]
fn a_weird_graph_comes_back_as_it_went() {
    let scratch = Scratch::new();
    let db = scratch.path("from.graphite");
    let daemon = Daemon::start(&db, &[]);
    let mut client = daemon.client();
    let labels: [&[&str]; 6] = [
        &[],
        &["A"],
        &["A", "B"],
        &["with space", "q\"uote", "com,ma"],
        &["line\nbreak", "東"],
        &["a|b;c!d"],
    ];
    let mut ids: Vec<NodeId> = Vec::new();
    for (index, properties) in weird_properties().into_iter().enumerate() {
        ids.push(client.create_node(labels[index % labels.len()].iter().copied(), properties).unwrap());
    }
    let types = ["T", "with space", "q\"uote", "com,ma", "line\nbreak", "東", ";", ":TYPE"];
    for (index, properties) in weird_properties().into_iter().enumerate() {
        let (start, end) = (ids[index % 4], ids[index * 7 % ids.len()]);
        client.create_edge(start, end, types[index % types.len()], properties).unwrap();
    }
    // Parallel edges, one of them the same in all, and one that ends where it starts.
    for _ in 0..2 {
        client.create_edge(ids[0], ids[1], "T", props! { "same" => 1 }).unwrap();
    }
    client.create_edge(ids[2], ids[2], "T", ()).unwrap();
    // A gap in the ids, and one that is used again.
    client.delete_node(ids[3], true).unwrap();
    client.create_node(["Late"], props! { "late" => true }).unwrap();

    let (mut from, mut to, dir) = round_trip(&scratch, &db);
    let (before, after) = (contents(&mut from), contents(&mut to));
    assert_eq!(after.nodes, before.nodes);
    assert_eq!(after.edges, before.edges);
    let header = std::fs::read_to_string(dir.join("nodes.csv")).unwrap();
    assert!(
        header.contains("mixed:any") && header.contains("f:float") && header.contains("ints:int[]"),
        "{header}"
    );
}

#[test]
fn an_empty_graph_comes_back_empty() {
    let scratch = Scratch::new();
    let db = scratch.path("from.graphite");
    let _daemon = Daemon::start(&db, &[]);
    let (_, mut to, _) = round_trip(&scratch, &db);
    assert_eq!(contents(&mut to), graphite_tests::Contents::default());
}

#[test]
fn other_headers_by_flags() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let people =
        scratch.write("people.csv", "key|name|age|langs\r\np1|Ada|36|en;fr\r\np2|\"Bob \"\"B\"\" O\"||\r\n");
    let pets = scratch.write("pets.csv", "p3|Rex|3|\n");
    let knows = scratch.write("knows.csv", "a|b|since\np1|p2|1833-06-05\np2|p1|\n");
    run_ok(
        graphite(&db),
        &[
            "import",
            "--delimiter",
            "|",
            "--infer",
            "--id-column",
            "key",
            "--id-property",
            "key",
            "--column",
            "langs:string[]",
            "--start-column",
            "#1",
            "--end-column",
            "b",
            "--label",
            "Thing",
            "--nodes",
            &format!("Person:Human={people}"),
            "--edges",
            &format!("KNOWS={knows}"),
        ],
    );
    // Files without a header, into the same database: another import.
    run_ok(
        graphite(&db),
        &[
            "import",
            "--delimiter",
            "|",
            "--node-header",
            "key:ID|name|age:int|langs",
            "--nodes",
            &format!("Pet={pets}"),
        ],
    );
    let mut client = Client::connect(graphite_client::socket_path(&db)).unwrap();
    let found = contents(&mut client);
    assert_eq!(
        found.nodes,
        [
            "[\"Human\", \"Person\", \"Thing\"] \"age\": Int(36), \"key\": String(\"p1\"), \"langs\": [String(\"en\"), \
             String(\"fr\")], \"name\": String(\"Ada\")",
            "[\"Human\", \"Person\", \"Thing\"] \"key\": String(\"p2\"), \"name\": String(\"Bob \\\"B\\\" O\")",
            "[\"Pet\"] \"age\": Int(3), \"key\": String(\"p3\"), \"name\": String(\"Rex\")",
        ]
    );
    assert_eq!(
        found.edges,
        [
            (0, 1, "\"KNOWS\" \"since\": Date(Date { days: -49883 })".to_owned()),
            (1, 0, "\"KNOWS\" ".to_owned())
        ]
    );
}

const NODES: &str = "n:ID,age:int\na,1\nb,2\nc,x\nd,4\na,5\ne\nf,6\n";
const EDGES: &str = ":START_ID,:END_ID,:TYPE\na,b,T\na,c,T\nd,f,T\n";

#[test]
fn bad_lines_are_told_and_nothing_of_their_batch_is_kept() {
    let scratch = Scratch::new();
    let (nodes, edges) = (scratch.write("n.csv", NODES), scratch.write("e.csv", EDGES));
    let import = ["import", "--nodes", &nodes, "--edges", &edges];
    let with = |more: &[&'static str]| [&import[..], more].concat();

    let dry = run(graphite(&scratch.path("none")), &with(&["--dry-run"]));
    assert_eq!(dry.code, 1);
    for line in [
        "n.csv:4: column \"age:int\": \"x\" is not",
        "n.csv:6: column \"n:ID\"",
        "n.csv:7: it has 1 field",
        "e.csv:3: column \":END_ID\"",
    ] {
        assert!(dry.err.contains(line), "{line} in {}", dry.err);
    }
    assert!(dry.err.contains("4 bad lines; 4 nodes and 2 edges are fine"), "{}", dry.err);
    assert!(!scratch.path("none").exists(), "a dry run makes no database");

    let db = scratch.path("db");
    let ran = run(graphite(&db), &with(&[]));
    assert!(ran.code == 1 && ran.err.contains("n.csv:4: column \"age:int\""), "{ran:?}");
    let mut client = Client::connect(graphite_client::socket_path(&db)).unwrap();
    assert_eq!(client.status().unwrap().nodes, 0);

    let ran = run(graphite(&db), &with(&["--skip-bad=3"]));
    assert!(ran.code == 1 && ran.err.contains("e.csv:3") && ran.err.contains("--resume"), "{ran:?}");
    assert_eq!((client.status().unwrap().nodes, client.status().unwrap().edges), (4, 0));

    let ran = run(graphite(&db), &with(&["--skip-bad=4"]));
    assert!(
        ran.code == 1 && ran.err.contains("--resume"),
        "an import that began is not begun again: {ran:?}"
    );
    let bad = scratch.path("bad.csv");
    let ran = run(
        graphite(&db),
        &with(&["--resume", "--skip-bad", "--bad-file", "BAD"])
            .iter()
            .map(|arg| if *arg == "BAD" { bad.to_str().unwrap() } else { arg })
            .collect::<Vec<_>>(),
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.out.contains("4 nodes and 2 edges") && ran.out.contains("4 bad lines left out"),
        "{}",
        ran.out
    );
    assert_eq!(ran.err, "", "bad lines go to the file");
    let told = std::fs::read_to_string(&bad).unwrap();
    assert_eq!(told.lines().count(), 5, "{told}");
    assert!(told.starts_with("file,line,column,reason\n") && told.contains("n.csv,4,age:int,"), "{told}");
    let found = contents(&mut client);
    assert_eq!((found.nodes.len(), found.edges.len()), (4, 2));
}

/// A cache so small that one edge more at each of some hubs changes more pages than one transaction may.
#[test]
fn batches_that_are_too_large_go_in_parts() {
    const HUBS: usize = 60;
    const DEGREE: usize = 2200;
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let daemon = Daemon::start(&db, &["--cache-bytes", "1M", "--durability", "off", "--log", "error"]);
    let mut nodes = "id:ID\n".to_owned();
    (0..=DEGREE).for_each(|n| nodes += &format!("{n}\n"));
    let pairs =
        |ends: std::ops::Range<usize>| (0..HUBS).flat_map(move |hub| ends.clone().map(move |end| (hub, end)));
    let file = |pairs: &mut dyn Iterator<Item = (usize, usize)>| {
        let lines = pairs.map(|(start, end)| format!("{start},{end},T\n"));
        format!(":START_ID,:END_ID,:TYPE\n{}", lines.collect::<String>())
    };
    let nodes = scratch.write("n.csv", nodes);
    // Each file begins a batch of its own: nodes, many edges, few edges: three, if none has to be halved.
    let many = scratch.write("many.csv", file(&mut pairs(0..DEGREE)));
    let few = scratch.write("few.csv", file(&mut pairs(DEGREE..DEGREE + 1)));
    let said = run_ok(graphite(&db), &["import", "--nodes", &nodes, "--edges", &many, &few]);
    let rows = HUBS * (DEGREE + 1);
    assert!(said.starts_with("2,201 nodes and 132,060 edges in "), "{said}");
    assert!(said.contains(" in 6 batches"), "the last was to be halved twice: {said}");
    let found = contents(&mut daemon.client());
    assert_eq!((found.nodes.len(), found.edges.len()), (DEGREE + 1, rows));
    let mut expected: Vec<(usize, usize)> = pairs(0..DEGREE + 1).collect();
    expected.sort_unstable();
    assert!(found.edges.iter().map(|(start, end, _)| (*start, *end)).eq(expected), "each edge is there once");
}

#[test]
fn a_megabyte_in_a_field_and_a_thousand_columns() {
    let scratch = Scratch::new();
    let db = scratch.path("db");
    let long = "x".repeat(1 << 20);
    let columns: Vec<String> = (0..1000).map(|n| format!("c{n}:int")).collect();
    let values: Vec<String> = (0..1000).map(|n| n.to_string()).collect();
    let wide = scratch.write("wide.csv", format!(":ID,{}\n1,{}\n", columns.join(","), values.join(",")));
    let tall = scratch.write("tall.csv", format!(":ID,text\r\n2,\"{long}\"\r\n3,{long}"));
    run_ok(graphite(&db), &["import", "--nodes", &wide, &tall]);
    let (mut from, mut to, _) = round_trip(&scratch, &db);
    let before = contents(&mut from);
    assert_eq!(before.nodes.len(), 3);
    assert!(before.nodes[1].contains(&long) && before.nodes[0].contains("\"c999\": Int(999)"));
    assert!(contents(&mut to) == before, "the graphs differ");
}
