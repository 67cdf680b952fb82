//! Which shape gives which operators.

use super::*;
use crate::plan::Properties;

fn node(id: u64) -> Step {
    Step::Node { ids: vec![EntityRef::Id(id)], required: false }
}

fn expand() -> Step {
    Step::Expand { direction: Direction::Out, types: vec![], to: Expansion::Nodes }
}

fn expand_to(to: Expansion) -> Step {
    Step::Expand { direction: Direction::Out, types: vec![], to }
}

fn nodes() -> Step {
    Step::Nodes { label: None }
}

fn has_label() -> Step {
    Step::HasLabel { label: "A".into() }
}

fn order() -> Step {
    Step::Order { by: OrderBy::Key("k".into()), desc: false }
}

const OUT: FollowNames = FollowNames { direction: Direction::Out, types: Vec::new() };

/// The operators of a plan of one reading pipeline, as text: its debug form is what a reader compares.
fn operators(steps: &[Step]) -> Vec<String> {
    let plan = Plan::of(steps);
    let segments = plan_pipeline(&plan, 0).unwrap();
    let [Segment::Read(operators)] = segments.as_slice() else {
        panic!("one segment that reads: {segments:?}")
    };
    operators.iter().map(|planned| name(&planned.operator)).collect()
}

fn name(operator: &Operator) -> String {
    let text = format!("{operator:?}");
    text.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}

fn only(steps: &[Step], check: impl FnOnce(&Operator)) {
    let plan = Plan::of(steps);
    let segments = plan_pipeline(&plan, 0).unwrap();
    match segments.as_slice() {
        [Segment::Read(operators)] if operators.len() == 1 => check(&operators[0].operator),
        _ => panic!("one operator: {segments:?}"),
    }
}

#[test]
fn point_reads_are_one_operator() {
    let id = EntityRef::Id(7);
    let whole = Operator::Point { id: id.clone(), required: false, output: PointOutput::Whole };
    only(&[node(7)], |operator| assert_eq!(*operator, whole));
    let keys = vec!["a".to_owned()];
    only(&[node(7), Step::Properties { keys: keys.clone() }], |operator| {
        let output = PointOutput::Properties(keys.clone());
        assert_eq!(*operator, Operator::Point { id: id.clone(), required: false, output });
    });
    only(&[node(7), expand(), Step::Count], |operator| {
        let output = PointOutput::DegreeSum(OUT);
        assert_eq!(*operator, Operator::Point { id: id.clone(), required: false, output });
    });
    let two = Step::Node { ids: vec![EntityRef::Id(1), EntityRef::Id(2)], required: false };
    assert_eq!(operators(&[two]), ["NodeIds"], "several nodes come in rows");
}

#[test]
fn what_others_refer_to_stays_rows() {
    let plan = Plan::of([node(1)]).then([node(2)]);
    let first = plan_pipeline(&plan, 0).unwrap();
    assert!(matches!(&first[..], [Segment::Read(operators)] if name(&operators[0].operator) == "NodeIds"));
    let second = plan_pipeline(&plan, 1).unwrap();
    assert!(matches!(&second[..], [Segment::Read(operators)] if name(&operators[0].operator) == "Point"));
}

#[test]
fn counts_look_at_as_little_as_they_can() {
    assert_eq!(operators(&[nodes(), Step::Count]), ["NodeCount"]);
    assert_eq!(operators(&[Step::Edges { edge_type: None }, Step::Count]), ["EdgeCount"]);
    assert_eq!(operators(&[Step::Nodes { label: Some("A".into()) }, Step::Count]), ["ScanNodes", "Count"]);
    let typed = Step::Edges { edge_type: Some("T".into()) };
    assert_eq!(operators(&[typed, Step::Count]), ["ScanEdges", "Count"]);
    for to in [Expansion::Nodes, Expansion::Edges, Expansion::Both] {
        assert_eq!(operators(&[nodes(), expand_to(to), Step::Count]), ["ScanNodes", "DegreeSum"]);
    }
    let two_hops = [node(1), expand(), expand(), Step::Count];
    assert_eq!(
        operators(&two_hops),
        ["NodeIds", "Expand", "DegreeSum"],
        "walks count by how often they come"
    );
    let khop = Step::KHop { direction: Direction::Out, types: vec![], min: 1, max: 3 };
    assert_eq!(operators(&[node(1), khop, Step::Count]), ["NodeIds", "KHopCount"]);
    assert_eq!(operators(&[nodes(), has_label(), Step::Count]), ["ScanNodes", "HasLabel", "Count"]);
}

#[test]
fn distinct_ends_of_walks_are_counted_by_levels() {
    let plan = Plan::of([node(1), expand(), expand(), Step::Distinct, Step::Count]);
    let segments = plan_pipeline(&plan, 0).unwrap();
    let [Segment::Read(operators)] = segments.as_slice() else { panic!("{segments:?}") };
    assert_eq!(operators.len(), 2);
    assert_eq!(operators[1].operator, Operator::WalkEndCount { hops: vec![OUT, OUT] });
    assert_eq!(operators[1].at, At { pipeline: 0, step: 4, op: "count" });
    let edges = [node(1), expand(), expand_to(Expansion::Edges), Step::Distinct, Step::Count];
    let expected = ["NodeIds", "Expand", "Distinct", "Expand", "Distinct", "Count"];
    assert_eq!(self::operators(&edges), expected, "distinct edges are not ends of walks");
    assert_eq!(self::operators(&[nodes(), Step::Distinct, Step::Count]), ["ScanNodes", "Distinct", "Count"]);
    let filtered = [node(1), expand(), has_label(), expand(), Step::Distinct, Step::Count];
    assert_eq!(self::operators(&filtered), ["NodeIds", "Expand", "HasLabel", "WalkEndCount"]);
}

#[test]
fn count_forgets_what_keeps_the_number_of_rows() {
    let degree = Step::Degree { direction: Direction::Both, types: vec![] };
    let steps = [nodes(), order(), degree, Step::Ids, Step::Count];
    assert_eq!(operators(&steps), ["NodeCount"]);
    let limited = [nodes(), Step::Limit { n: 3 }, Step::Ids, Step::Count];
    assert_eq!(operators(&limited), ["ScanNodes", "Limit", "Count"]);
}

#[test]
fn a_limit_tells_the_order_before_it() {
    let keep = |steps: &[Step]| {
        let plan = Plan::of(steps);
        let segments = plan_pipeline(&plan, 0).unwrap();
        let [Segment::Read(operators)] = segments.as_slice() else { panic!("{segments:?}") };
        operators.iter().find_map(|planned| match planned.operator {
            Operator::Order { keep, .. } => Some(keep),
            _ => None,
        })
    };
    assert_eq!(keep(&[nodes(), order(), Step::Limit { n: 5 }]), Some(Some(5)));
    assert_eq!(keep(&[nodes(), order(), Step::Skip { n: 2 }, Step::Limit { n: 5 }]), Some(Some(7)));
    let endless = [nodes(), order(), Step::Skip { n: 2 }, Step::Limit { n: u64::MAX }];
    assert_eq!(keep(&endless), Some(Some(u64::MAX)));
    assert_eq!(keep(&[nodes(), order(), has_label(), Step::Limit { n: 5 }]), Some(None));
    let twice = [nodes(), order(), Step::Limit { n: 5 }, Step::Limit { n: 9 }];
    assert_eq!(keep(&twice), Some(Some(5)));
}

#[test]
fn frontiers_lose_duplicates_early() {
    let steps = [node(1), expand(), has_label(), expand(), has_label(), Step::Distinct];
    let expected = ["NodeIds", "Expand", "HasLabel", "Distinct", "Expand", "HasLabel", "Distinct"];
    assert_eq!(operators(&steps), expected);
    let khop = Step::KHop { direction: Direction::Out, types: vec![], min: 1, max: 2 };
    assert_eq!(
        operators(&[node(1), expand(), expand(), khop]),
        ["NodeIds", "Expand", "Distinct", "Expand", "KHop"]
    );
    // A limit in between counts duplicates.
    let limited = [node(1), expand(), expand(), Step::Limit { n: 9 }, Step::Distinct];
    assert_eq!(operators(&limited), ["NodeIds", "Expand", "Expand", "Limit", "Distinct"]);
    let not_distinct = [node(1), expand(), expand()];
    assert_eq!(operators(&not_distinct), ["NodeIds", "Expand", "Expand"]);
}

#[test]
fn writes_cut_a_pipeline_into_segments() {
    let set = Step::Set { properties: Properties::new() };
    let plan = Plan::of([nodes(), has_label(), set, expand(), Step::Delete { detach: true }]);
    let segments = plan_pipeline(&plan, 0).unwrap();
    let shape: Vec<Vec<String>> = segments
        .iter()
        .map(|segment| match segment {
            Segment::Read(operators) => operators.iter().map(|planned| name(&planned.operator)).collect(),
            Segment::Write(at) => vec![at.op.to_owned()],
        })
        .collect();
    assert_eq!(shape, [vec!["ScanNodes", "HasLabel"], vec!["set"], vec!["Input", "Expand"], vec!["delete"]]);

    let created = Plan::of([Step::CreateNodes { rows: vec![] }]);
    assert!(matches!(plan_pipeline(&created, 0).unwrap()[..], [Segment::Write(..)]));
    let then_read = Plan::of([node(3), Step::Set { properties: Properties::new() }, Step::Count]);
    assert!(matches!(
        plan_pipeline(&then_read, 0).unwrap()[..],
        [Segment::Read(_), Segment::Write(..), Segment::Read(_)]
    ));
}

#[test]
fn a_step_that_makes_no_sense_is_named() {
    let plan = Plan::of([node(1)]).then([Step::Edges { edge_type: None }, expand()]);
    let error = plan_pipeline(&plan, 1).unwrap_err();
    let Error::InvalidStep { at, .. } = error else { panic!("{error:?}") };
    assert_eq!(at, At { pipeline: 1, step: 1, op: "expand" });
}
