//! One whole node by its id, the commonest read: from the pages into the answer, without operators and rows between.
//!
//! Only what is plain goes this way. Whatever else there is (no such node, a page that is not in memory, more properties
//! than a short map has) is left to the way of all plans, which gives the same answer, and knows the errors.

use graphite_graph::catalog::Catalog;
use graphite_graph::value_codec::Seen;
use graphite_graph::{KeyId, LabelId, NodeId, ShowNode, Snapshot, Value};
use graphite_protocol::message::{abandon_response, begin_response, end_response};
use graphite_protocol::{Decoder, ENCODED_SHORT_PAIRS_MAX, Encoder, ExtMark, RowsWriter};
use graphite_query as query;

use crate::encode;

/// A plan that is such a read.
#[derive(Debug)]
pub(crate) struct Lookup {
    /// The parameter that is the id.
    param: String,
}

impl Lookup {
    /// The plan as such a read, if it is one.
    pub(crate) fn of(plan: &query::Plan) -> Option<Lookup> {
        let [steps] = &plan.pipelines[..] else { return None };
        let [query::Step::Node { ids, .. }] = &steps[..] else { return None };
        let [query::EntityRef::Param(param)] = &ids[..] else { return None };
        Some(Lookup { param: param.clone() })
    }

    /// Takes the id, if that is all the parameters there are; else nothing is taken.
    pub(crate) fn take_id(&self, from: &mut Decoder<'_>) -> Option<NodeId> {
        let mut ahead = from.clone();
        if ahead.map().ok()? != 1 || ahead.str().ok()? != self.param {
            return None;
        }
        let id = ahead.i64().ok()?;
        ahead.leave();
        *from = ahead;
        Some(NodeId(id.cast_unsigned()))
    }

    /// The parameters that the id was taken out of.
    pub(crate) fn params(&self, id: NodeId) -> query::Params {
        query::Params::from(vec![(self.param.clone(), Value::Int(id.0.cast_signed()))])
    }
}

/// Writes the answer to such a read; `false`, and nothing written, if it is not plain.
pub(crate) fn write(
    snapshot: &Snapshot,
    node: NodeId,
    out: &mut Vec<u8>,
    msgid: u32,
    columns: &[String],
    frame_bytes_max: usize,
) -> bool {
    let response = begin_response(out, msgid);
    let mut encoder = Encoder::new(out);
    let mut rows = RowsWriter::begin(&mut encoder, columns.iter());
    rows.row(&mut encoder);
    let mut writer =
        Writer { node, catalog: snapshot.known(), out: &mut encoder, begun: None, properties: 0 };
    let is_whole = matches!(snapshot.show_node(node, &mut writer), Ok(true));
    match writer.begun.filter(|_| is_whole) {
        Some((mark, _)) => encoder.ext_end(mark),
        None => {
            abandon_response(out, response);
            return false;
        }
    }
    rows.finish(&mut encoder, None, None);
    end_response(out, response, frame_bytes_max).is_ok()
}

/// Writes a node as it is shown.
struct Writer<'a, 'o> {
    node: NodeId,
    catalog: &'a Catalog,
    out: &'a mut Encoder<'o>,
    /// The node's mark, and where the map of its properties is.
    begun: Option<(ExtMark, usize)>,
    properties: usize,
}

impl ShowNode for Writer<'_, '_> {
    fn labels(&mut self, labels: &[LabelId]) -> bool {
        if labels.iter().any(|label| self.catalog.label_name(*label).is_none()) {
            return false;
        }
        let names = labels.iter().map(|label| self.catalog.label_name(*label).unwrap_or_default());
        let mark = self.out.node_begin(self.node.0, names, 0);
        // A map without pairs is one byte.
        self.begun = Some((mark, self.out.position() - 1));
        true
    }

    fn property(&mut self, key: KeyId, value: Seen<'_>) -> bool {
        let (Some((_, map_at)), Some(name)) = (&self.begun, self.catalog.key_name(key)) else { return false };
        if self.properties == ENCODED_SHORT_PAIRS_MAX {
            return false;
        }
        self.properties += 1;
        self.out.one_more_pair(*map_at);
        self.out.str(name);
        match value {
            Seen::Text(text) => self.out.str(text),
            Seen::Value(value) => encode::value(self.out, &value),
        }
        true
    }
}
