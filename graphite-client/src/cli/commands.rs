//! The commands that ask one question.

use std::io::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use graphite_client::messages::Durability;
use graphite_client::{Direction, Node, Path, StatusReply, Traversal, Value};

use super::Target;
use super::failure::{Failure, Outcome};
use super::node_arg::NodeArg;
use super::output::{Format, RowSet, Screen, write_rows, write_structs};
use super::show::{bytes, count, elapsed, number};

/// How rows are shown.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct FormatArgs {
    /// How rows are shown
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    pub format: Format,
}

/// Which edges are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    /// Those that start at the node.
    Out,
    /// Those that end at it.
    In,
    /// All.
    #[default]
    Both,
}

impl From<Way> for Direction {
    fn from(way: Way) -> Direction {
        match way {
            Way::Out => Direction::Out,
            Way::In => Direction::In,
            Way::Both => Direction::Both,
        }
    }
}

/// Flags of `status`.
#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    #[command(flatten)]
    format: FormatArgs,
}

/// Flags of `checkpoint`.
#[derive(Debug, Args)]
pub(crate) struct CheckpointArgs {
    #[command(flatten)]
    format: FormatArgs,
}

/// Flags of `node`.
#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// ID, key=value or Label:key=value
    #[arg(value_name = "NODE")]
    node: NodeArg,
    /// Show at most so many nodes
    #[arg(long, default_value_t = 20, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    limit: u64,
    #[command(flatten)]
    format: FormatArgs,
}

/// Flags of `neighbors`.
#[derive(Debug, Args)]
pub(crate) struct NeighborsArgs {
    /// ID, key=value or Label:key=value
    #[arg(value_name = "NODE")]
    node: NodeArg,
    /// Which edges are followed
    #[arg(long, value_enum, default_value_t, value_name = "WAY")]
    direction: Way,
    /// Follow edges of this type only; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Show at most so many
    #[arg(long, default_value_t = 25, value_name = "N")]
    limit: u64,
    #[command(flatten)]
    format: FormatArgs,
}

/// Flags of `path`.
#[derive(Debug, Args)]
pub(crate) struct PathArgs {
    /// ID, key=value or Label:key=value
    #[arg(value_name = "FROM")]
    from: NodeArg,
    /// ID, key=value or Label:key=value
    #[arg(value_name = "TO")]
    to: NodeArg,
    /// Which edges are followed
    #[arg(long, value_enum, default_value_t = Way::Out, value_name = "WAY")]
    direction: Way,
    /// Follow edges of this type only; may be given several times
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Look no further than so many edges
    #[arg(long, value_name = "N")]
    max_hops: Option<u32>,
    #[command(flatten)]
    format: FormatArgs,
}

fn strs(names: &[String]) -> Vec<&str> {
    names.iter().map(String::as_str).collect()
}

fn labels(node: &Node) -> Value {
    Value::List(node.labels.iter().map(|label| label.as_str().into()).collect())
}

/// `graphite status`
pub(crate) fn status(target: &Target, args: &StatusArgs, out: &mut impl Write) -> Outcome {
    let status = target.connect(false)?.status()?;
    if args.format.format == Format::Table {
        let lines = status_lines(&status);
        let width = lines.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, text) in lines {
            writeln!(out, "{name:width$}  {}", graphite_client::text::harmless(&text))?;
        }
        return Ok(());
    }
    write_struct(out, &status, args.format.format)
}

/// What a person wants to know of a daemon: names and texts.
fn status_lines(status: &StatusReply) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("database", status.database.clone()),
        ("graph", format!("{}, {}", count(status.nodes, "node"), count(status.edges, "edge"))),
        (
            "daemon",
            format!(
                "graphited {}, process {}, up {}",
                status.version,
                status.pid,
                elapsed(Duration::from_millis(status.uptime_ms))
            ),
        ),
        (
            "sessions",
            format!(
                "{} of {}, {} open",
                number(status.sessions),
                number(status.sessions_max),
                count(status.transactions, "transaction")
            ),
        ),
        (
            "file",
            format!(
                "{}, {} of {} pages free",
                bytes(status.file_bytes),
                number(status.pages_free),
                number(status.pages)
            ),
        ),
        (
            "log",
            format!(
                "{}, of which recovery would read {}",
                bytes(status.wal_bytes),
                bytes(status.wal_used_bytes)
            ),
        ),
        (
            "cache",
            format!(
                "{} of {}, {} read from the file",
                bytes(status.cache_bytes),
                bytes(status.cache_bytes_max),
                count(status.cache_misses, "page")
            ),
        ),
        ("checkpoints", checkpoints(status)),
        (
            "commits",
            format!(
                "{}, {} rolled back, {} by deadlock, {}",
                number(status.commits),
                number(status.aborts),
                number(status.deadlocks),
                count(status.syncs, "sync")
            ),
        ),
        ("statements", number(status.statements)),
    ];
    lines.extend(warnings(status));
    lines
}

/// What nobody should overlook.
fn warnings(status: &StatusReply) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    if status.durability == Durability::Off {
        lines.push(("DURABILITY", "OFF: a power cut or a crash of the system loses commits".to_owned()));
    }
    if let Some(why) = &status.poisoned {
        lines.push((
            "POISONED",
            format!("{why}; the database takes no changes until its daemon is started again"),
        ));
    } else if status.read_only {
        lines.push(("READ-ONLY", "the database takes no changes".to_owned()));
    }
    lines
}

fn checkpoints(status: &StatusReply) -> String {
    let made = number(status.checkpoints);
    let Some(at) = status.checkpoint_at_ms else { return made };
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{made}, the last {} ago", elapsed(now.saturating_sub(Duration::from_millis(at))))
}

/// A flat struct as one row.
fn write_struct(out: &mut impl Write, fields: &impl serde::Serialize, format: Format) -> Outcome {
    Ok(write_structs(out, std::slice::from_ref(fields), format, Screen::of_stdout())?)
}

/// `graphite checkpoint`
pub(crate) fn checkpoint(target: &Target, args: &CheckpointArgs, out: &mut impl Write) -> Outcome {
    let reply = target.connect(false)?.checkpoint()?;
    if args.format.format == Format::Table {
        writeln!(
            out,
            "{} written; recovery would start at {}",
            count(reply.pages_written, "page"),
            reply.lsn
        )?;
        return Ok(());
    }
    write_struct(out, &reply, args.format.format)
}

/// `graphite node`
pub(crate) fn node(target: &Target, args: &NodeArgs, out: &mut impl Write) -> Outcome {
    let mut client = target.connect(false)?;
    // One more than shown, to know whether there are more.
    let mut nodes = args.node.find(&mut client, args.limit.saturating_add(1))?;
    if nodes.is_empty() {
        return Err(args.node.not_found());
    }
    let shown = usize::try_from(args.limit).unwrap_or(usize::MAX);
    let more = nodes.len() > shown;
    nodes.truncate(shown);
    let screen = Screen::of_stdout();
    match nodes.as_slice() {
        [node] if args.format.format == Format::Table => {
            let mut set = RowSet { wrap: true, ..RowSet::new(&["node", &node.id.to_string()]) };
            set.rows.push(vec!["labels".into(), labels(node)]);
            set.rows
                .extend(node.properties.iter().map(|(key, value)| vec![key.as_str().into(), value.clone()]));
            write_rows(out, &set, Format::Table, screen)?;
        }
        nodes => {
            let mut set = RowSet::new(&["id", "labels", "properties"]);
            for node in nodes {
                let id = Value::Int(node.id.cast_signed());
                set.rows.push(vec![id, labels(node), Value::Map(node.properties.clone())]);
            }
            write_rows(out, &set, args.format.format, screen)?;
        }
    }
    if more {
        eprintln!("... and more; --limit shows them");
    }
    Ok(())
}

/// `graphite neighbors`
pub(crate) fn neighbors(target: &Target, args: &NeighborsArgs, out: &mut impl Write) -> Outcome {
    let mut client = target.connect(false)?;
    let node = args.node.find_one(&mut client)?;
    let id = graphite_client::NodeId(node.id);
    let direction = args.direction.into();
    let plan = Traversal::required_node(id).expand_both(direction, &args.types).limit(args.limit);
    let rows = client.run(plan, ())?.rows;
    let all = client.degree(id, direction, &strs(&args.types))?;

    let mut set = RowSet::new(&["way", "type", "node", "labels", "properties", "edge", "edge properties"]);
    if args.format.format == Format::Table {
        set.columns = ["", "type", "node", "labels", "properties"].map(str::to_owned).to_vec();
    }
    for row in &rows {
        let (Some(edge), Some(other)) =
            (row.first().and_then(Value::as_edge), row.get(1).and_then(Value::as_node))
        else {
            return Err(Failure::Failed("the daemon answered neither edges nor nodes".to_owned()));
        };
        let way = match (edge.start == node.id, edge.end == node.id) {
            (true, true) => "self",
            (true, false) => "out",
            _ => "in",
        };
        let mut cells = vec![
            way.into(),
            edge.edge_type.as_str().into(),
            Value::Int(other.id.cast_signed()),
            labels(other),
            Value::Map(other.properties.clone()),
            Value::Int(edge.id.cast_signed()),
            Value::Map(edge.properties.clone()),
        ];
        cells.truncate(set.columns.len());
        set.rows.push(cells);
    }
    write_rows(out, &set, args.format.format, Screen::of_stdout())?;
    let shown = rows.len() as u64;
    if args.format.format == Format::Table && all > shown {
        writeln!(out, "{} of {}; --limit {all} shows all", number(shown), count(all, "edge"))?;
    }
    Ok(())
}

/// `graphite path`
pub(crate) fn path(target: &Target, args: &PathArgs, out: &mut impl Write) -> Outcome {
    let mut client = target.connect(false)?;
    let from = args.from.find_one(&mut client)?;
    let to = args.to.find_one(&mut client)?;
    let (start, end) = (graphite_client::NodeId(from.id), graphite_client::NodeId(to.id));
    let found = client.shortest_path(start, end, args.direction.into(), &strs(&args.types), args.max_hops)?;
    let Some(path) = found else {
        let within = args.max_hops.map(|hops| format!(" of at most {}", count(hops.into(), "edge")));
        return Err(Failure::Failed(format!(
            "there is no path{} from {} to {}",
            within.unwrap_or_default(),
            args.from,
            args.to
        )));
    };
    let format = args.format.format;
    write_rows(out, &path_rows(&path), format, Screen::of_stdout())?;
    if format == Format::Table {
        writeln!(out, "{}", count(path.edges.len() as u64, "edge"))?;
    }
    Ok(())
}

/// A row of each node, with the edge that led to it.
pub(crate) fn path_rows(path: &Path) -> RowSet {
    let mut set = RowSet::new(&["hop", "via", "node", "labels", "properties"]);
    for (hop, node) in path.nodes.iter().enumerate() {
        let edge = hop.checked_sub(1).and_then(|before| path.edges.get(before));
        // An edge that was taken against its direction shows so.
        let via = edge.map(|edge| {
            if edge.end == node.id {
                format!("-{}->", edge.edge_type)
            } else {
                format!("<-{}-", edge.edge_type)
            }
        });
        set.rows.push(vec![
            i64::try_from(hop).unwrap_or(i64::MAX).into(),
            via.into(),
            Value::Int(node.id.cast_signed()),
            labels(node),
            Value::Map(node.properties.clone()),
        ]);
    }
    set
}
