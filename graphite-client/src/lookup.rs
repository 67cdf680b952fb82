//! Reads of one node or edge by its id: the commonest request, so it is encoded and decoded without a plan or rows.
//!
//! The plan's bytes are always the same and the id is a parameter, so that the daemon finds the plan that it has
//! ready from the time before.

use std::sync::LazyLock;

use graphite_protocol::message::Body;
use graphite_protocol::messages::{Request, Run};
use graphite_protocol::{DecodeError, Encoder, EntityRef, Value, Wire};

use crate::client::Client;
use crate::error::Result;
use crate::traversal::Traversal;

/// Name of the parameter.
const ID: &str = "id";

/// What is read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Node,
    Edge,
}

impl Kind {
    /// The encoded plan.
    fn plan(self) -> &'static [u8] {
        static PLANS: LazyLock<[Vec<u8>; 2]> = LazyLock::new(|| {
            let id = || EntityRef::Param(ID.to_owned());
            [Traversal::node(id()), Traversal::edge(id())].map(|traversal| {
                let mut bytes = Vec::new();
                traversal.plan().write(&mut Encoder::new(&mut bytes));
                bytes
            })
        });
        let [node, edge] = &*PLANS;
        match self {
            Kind::Node => node,
            Kind::Edge => edge,
        }
    }
}

/// Writes what a [`Run`] of the plan would.
fn write_params(out: &mut Encoder<'_>, kind: Kind, id: u64, timeout_ms: Option<u64>) {
    out.map(2 + usize::from(timeout_ms.is_some()));
    out.str("plan");
    out.raw(kind.plan());
    out.str("params");
    out.map(1);
    out.str(ID);
    out.int(id.cast_signed());
    if let Some(timeout_ms) = timeout_ms {
        out.str("timeout_ms");
        out.uint(timeout_ms);
    }
}

/// The first value of the first row of an answer to `run`; `None` if it has no row.
fn first_value(answer: Body<'_>) -> std::result::Result<Option<Value>, DecodeError> {
    let mut from = answer.decoder();
    let mut value = None;
    for _ in 0..from.map()? {
        if from.str()? != "rows" {
            from.skip()?;
            continue;
        }
        for row in 0..from.list()? {
            if row > 0 {
                from.skip()?;
                continue;
            }
            for column in 0..from.list()? {
                if column == 0 { value = Some(Value::read(&mut from)?) } else { from.skip()? }
            }
            from.leave();
        }
        from.leave();
    }
    from.leave();
    from.finish()?;
    Ok(value)
}

impl Client {
    /// The node or edge with this id, if there is one.
    pub(crate) fn lookup(&mut self, kind: Kind, id: u64) -> Result<Option<Value>> {
        let timeout_ms = self.statement_timeout_ms;
        let write = |out: &mut Encoder<'_>| write_params(out, kind, id, timeout_ms);
        let msgid = self.connection.enqueue_by(Run::METHOD, write)?;
        self.connection.flush()?;
        self.connection.receive_by(msgid, first_value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graphite_protocol::Decoder;
    use graphite_protocol::messages::{RunReply, Summary};

    /// What is written by hand is read as the request that it stands for.
    #[test]
    fn a_lookup_is_a_run() {
        for (kind, traversal) in [
            (Kind::Node, Traversal::node(EntityRef::Param("id".to_owned()))),
            (Kind::Edge, Traversal::edge(EntityRef::Param("id".to_owned()))),
        ] {
            for timeout_ms in [None, Some(7)] {
                let mut bytes = Vec::new();
                write_params(&mut Encoder::new(&mut bytes), kind, 1 << 50, timeout_ms);
                let run = Run {
                    plan: traversal.clone().plan(),
                    params: [(ID, Value::Int(1 << 50))].into_iter().collect(),
                    fetch: None,
                    timeout_ms,
                };
                assert_eq!(Run::read(&mut Decoder::new(&bytes)).unwrap(), run);
                let mut whole = Vec::new();
                run.write(&mut Encoder::new(&mut whole));
                assert_eq!(bytes, whole);
            }
        }
    }

    #[test]
    fn the_first_value_is_taken_out_of_whatever_comes() {
        let value = |number| Value::List(vec![Value::Int(number), Value::Nil]);
        let reply = |rows: Vec<Vec<Value>>| {
            let columns = vec!["a".to_owned(), "b".to_owned()];
            let mut bytes = Vec::new();
            RunReply { columns, rows, cursor: Some(3), summary: Summary::default() }
                .write(&mut Encoder::new(&mut bytes));
            bytes
        };
        assert_eq!(first_value(Body::of(&reply(vec![]))).unwrap(), None);
        let two = reply(vec![vec![value(1), value(2)], vec![value(3), value(4)]]);
        assert_eq!(first_value(Body::of(&two)).unwrap(), Some(value(1)));
        for len in 0..two.len() {
            assert!(first_value(Body::of(&two[..len])).is_err(), "{len}");
        }
    }
}
