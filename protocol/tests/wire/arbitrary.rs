//! Arbitrary values of the wire's types.

use graphite_protocol::{
    Comparison, Date, DateTime, Direction, Duration, Edge, EntityRef, Expansion, LocalDateTime, LocalTime,
    NewEdge, NewNode, Node, Operand, OrderBy, Pairs, Path, Plan, Properties, Step, Time, Value,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

/// Strings, among them empty ones and ones whose characters take several bytes.
pub(crate) fn string() -> impl Strategy<Value = String> {
    "[a-zäß€😀]{0,12}"
}

fn pairs_of<T: std::fmt::Debug>(value: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<(String, T)>> {
    btree_map(string(), value, 0..5).prop_map(|map| map.into_iter().collect())
}

fn scalar() -> BoxedStrategy<Value> {
    let nanoseconds = 0u32..1_000_000_000;
    let of_day = 0u64..86_400_000_000_000;
    let offset = -64_800i32..=64_800;
    prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        (-200i64..70_000).prop_map(Value::Int),
        // NaN is not equal to itself; it has a test of its own.
        any::<f64>().prop_filter("NaN", |float| !float.is_nan()).prop_map(Value::Float),
        string().prop_map(Value::String),
        vec(any::<u8>(), 0..300).prop_map(Value::Bytes),
        any::<i64>().prop_map(|days| Date { days }.into()),
        of_day.clone().prop_map(|nanoseconds| LocalTime { nanoseconds }.into()),
        (of_day, offset.clone()).prop_map(|(nanoseconds, offset_seconds)| Time {
            nanoseconds,
            offset_seconds
        }
        .into()),
        (any::<i64>(), nanoseconds.clone()).prop_map(|(seconds, nanoseconds)| LocalDateTime {
            seconds,
            nanoseconds
        }
        .into()),
        (any::<i64>(), nanoseconds.clone(), offset, option::of(string())).prop_map(
            |(seconds, nanoseconds, offset_seconds, zone)| {
                DateTime { seconds, nanoseconds, offset_seconds, zone }.into()
            }
        ),
        (any::<i64>(), any::<i64>(), any::<i64>(), nanoseconds).prop_map(
            |(months, days, seconds, nanoseconds)| { Duration { months, days, seconds, nanoseconds }.into() }
        ),
    ]
    .boxed()
}

fn node() -> impl Strategy<Value = Node> {
    (any::<u64>(), vec(string(), 0..3), pairs_of(scalar())).prop_map(|(id, labels, properties)| Node {
        id,
        labels,
        properties,
    })
}

fn edge() -> impl Strategy<Value = Edge> {
    (any::<u64>(), string(), any::<u64>(), any::<u64>(), pairs_of(scalar()))
        .prop_map(|(id, edge_type, start, end, properties)| Edge { id, edge_type, start, end, properties })
}

fn path() -> impl Strategy<Value = Path> {
    (node(), vec((node(), edge()), 0..3)).prop_map(|(first, rest)| {
        let (nodes, edges): (Vec<Node>, Vec<Edge>) = rest.into_iter().unzip();
        Path { nodes: std::iter::once(first).chain(nodes).collect(), edges }
    })
}

/// Any value, a few levels deep.
pub(crate) fn value() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        10 => scalar(),
        1 => node().prop_map(Value::from),
        1 => edge().prop_map(Value::from),
        1 => path().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 8, |inner| {
        prop_oneof![vec(inner.clone(), 0..8).prop_map(Value::List), pairs_of(inner).prop_map(Value::Map)]
    })
    .boxed()
}

/// Any parameters.
pub(crate) fn params() -> impl Strategy<Value = Pairs<Value>> {
    pairs_of(value()).prop_map(Pairs)
}

fn operand() -> impl Strategy<Value = Operand> {
    prop_oneof![scalar().prop_map(Operand::Value), string().prop_map(Operand::Param)]
}

fn properties() -> impl Strategy<Value = Properties> {
    pairs_of(operand()).prop_map(Pairs)
}

fn entity() -> impl Strategy<Value = EntityRef> {
    prop_oneof![
        any::<u64>().prop_map(EntityRef::Id),
        string().prop_map(EntityRef::Param),
        (any::<u32>(), 0u32..3).prop_map(|(pipeline, row)| EntityRef::Row { pipeline, row }),
    ]
}

fn entities() -> impl Strategy<Value = Vec<EntityRef>> {
    vec(entity(), 0..4)
}

fn strings() -> impl Strategy<Value = Vec<String>> {
    vec(string(), 0..3)
}

fn new_edge() -> impl Strategy<Value = NewEdge> {
    (entity(), entity(), string(), properties()).prop_map(|(start, end, edge_type, properties)| NewEdge {
        start,
        end,
        edge_type,
        properties,
    })
}

fn direction() -> impl Strategy<Value = Direction> {
    prop::sample::select(Direction::ALL)
}

/// Any step, whether it makes sense or not.
pub(crate) fn step() -> impl Strategy<Value = Step> {
    let new_node = (strings(), properties()).prop_map(|(labels, properties)| NewNode { labels, properties });
    let sources = prop_oneof![
        (entities(), any::<bool>()).prop_map(|(ids, required)| Step::Node { ids, required }),
        (entities(), any::<bool>()).prop_map(|(ids, required)| Step::Edge { ids, required }),
        option::of(string()).prop_map(|label| Step::Nodes { label }),
        option::of(string()).prop_map(|edge_type| Step::Edges { edge_type }),
        (strings(), properties()).prop_map(|(labels, properties)| Step::CreateNode { labels, properties }),
        new_edge().prop_map(|NewEdge { start, end, edge_type, properties }| {
            Step::CreateEdge { start, end, edge_type, properties }
        }),
        vec(new_node, 0..4).prop_map(|rows| Step::CreateNodes { rows }),
        vec(new_edge(), 0..4).prop_map(|rows| Step::CreateEdges { rows }),
        (entity(), entity(), direction(), strings(), option::of(any::<u32>())).prop_map(
            |(from, to, direction, types, max_hops)| Step::ShortestPath {
                from,
                to,
                direction,
                types,
                max_hops
            }
        ),
    ];
    let of_entities = prop_oneof![
        (string(), prop::sample::select(Comparison::ALL), option::of(operand()))
            .prop_map(|(key, comparison, value)| Step::Filter { key, comparison, value: not_nil(value) }),
        string().prop_map(|label| Step::HasLabel { label }),
        (direction(), strings(), prop::sample::select(Expansion::ALL))
            .prop_map(|(direction, types, to)| Step::Expand { direction, types, to }),
        (direction(), strings(), any::<u32>(), any::<u32>())
            .prop_map(|(direction, types, min, max)| Step::KHop { direction, types, min, max }),
        (direction(), strings()).prop_map(|(direction, types)| Step::Degree { direction, types }),
        strings().prop_map(|keys| Step::Properties { keys }),
        Just(Step::Ids {}),
    ];
    let others = prop_oneof![
        Just(Step::Distinct {}),
        Just(Step::Count {}),
        (string(), any::<bool>()).prop_map(|(key, desc)| Step::Order { by: OrderBy::Key(key), desc }),
        (string(), any::<bool>()).prop_map(|(name, desc)| Step::Order { by: OrderBy::Column(name), desc }),
        any::<u64>().prop_map(|n| Step::Limit { n }),
        any::<u64>().prop_map(|n| Step::Skip { n }),
        properties().prop_map(|properties| Step::Set { properties }),
        properties().prop_map(|properties| Step::Replace { properties }),
        strings().prop_map(|labels| Step::AddLabels { labels }),
        strings().prop_map(|labels| Step::RemoveLabels { labels }),
        any::<bool>().prop_map(|detach| Step::Delete { detach }),
    ];
    prop_oneof![sources, of_entities, others]
}

/// A value of nil and no value are the same on the wire.
fn not_nil(value: Option<Operand>) -> Option<Operand> {
    value.filter(|operand| *operand != Operand::Value(Value::Nil))
}

/// Any plan, whether it makes sense or not.
pub(crate) fn plan() -> impl Strategy<Value = Plan> {
    vec(vec(step(), 0..5), 0..4).prop_map(|pipelines| Plan { pipelines })
}
