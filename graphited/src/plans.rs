//! Plans that are ready to run, and the decoding of `run` that finds them by their bytes.
//!
//! A client sends the same plan again and again with other parameters. Its bytes are then the same, so they are looked
//! up before anything is decoded: a plan that is known costs a hash and a comparison of its bytes.

use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use graphite_protocol::{Decoder, ErrorCode, Pairs, Plan, Value, Wire, WireError};
use graphite_query as query;
use rustc_hash::FxHasher;

use crate::{convert, errors};

/// Longest plan, in bytes on the wire, that is kept ready.
const KEPT_BYTES_MAX: usize = 16 << 10;
/// Of so many runs of a plan that did not come to an end on the reactor before, one tries again.
const TRY_AGAIN_EVERY: u32 = 16;

/// A plan that is ready to run.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What to run.
    pub plan: Arc<query::Plan>,
    /// Names of the answer's columns.
    pub columns: Vec<String>,
    /// Whether it changes the graph.
    pub writes: bool,
    /// Parameters that stand for entities.
    entities: Vec<String>,
    /// Runs since it last came to its end on the reactor.
    misses: AtomicU32,
}

impl Prepared {
    /// Makes a plan ready.
    ///
    /// # Errors
    /// `bad-request` for a plan that makes no sense on any graph, `invalid-value`.
    pub(crate) fn new(plan: Plan) -> Result<Prepared, WireError> {
        let (plan, entities) = convert::plan(plan)?;
        let columns = query::columns(&plan).map_err(|error| errors::of_query(&error))?;
        let columns = columns.into_iter().map(|(name, _)| name).collect();
        let writes = plan.is_write();
        Ok(Prepared { plan: Arc::new(plan), columns, writes, entities, misses: AtomicU32::new(0) })
    }

    /// Whether it is worth a try on the reactor.
    pub(crate) fn may_be_quick(&self) -> bool {
        let misses = self.misses.load(Ordering::Relaxed);
        if misses == 0 {
            return true;
        }
        self.misses.store(misses.wrapping_add(1).max(1), Ordering::Relaxed);
        misses.is_multiple_of(TRY_AGAIN_EVERY)
    }

    /// It did, or did not, come to its end on the reactor.
    pub(crate) fn was_quick(&self, quick: bool) {
        if quick != (self.misses.load(Ordering::Relaxed) == 0) {
            self.misses.store(u32::from(!quick), Ordering::Relaxed);
        }
    }

    /// The plan in a line, for whoever watches.
    pub(crate) fn describe(&self) -> String {
        let pipelines = self.plan.pipelines.iter().map(|steps| {
            let ops: Vec<&str> = steps.iter().map(query::Step::op).collect();
            ops.join(" | ")
        });
        pipelines.collect::<Vec<_>>().join("; ")
    }
}

/// A `run` that is decoded.
#[derive(Debug)]
pub(crate) struct DecodedRun {
    /// The plan.
    pub prepared: Arc<Prepared>,
    /// Its parameters.
    pub params: Arc<query::Params>,
    /// Most rows of the answer.
    pub fetch: Option<u32>,
    /// How long it may run.
    pub timeout_ms: Option<u64>,
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    bytes: Box<[u8]>,
    prepared: Arc<Prepared>,
    used: u64,
}

/// The plans that a session used last.
#[derive(Debug)]
pub(crate) struct PlanCache {
    entries: Vec<Entry>,
    entries_max: usize,
    clock: u64,
    no_params: Arc<query::Params>,
}

impl PlanCache {
    /// Keeps so many.
    pub(crate) fn new(entries_max: usize) -> PlanCache {
        PlanCache { entries: Vec::new(), entries_max, clock: 0, no_params: Arc::default() }
    }

    /// The plan of these bytes.
    fn get(&mut self, bytes: &[u8], mut from: Decoder<'_>) -> Result<Arc<Prepared>, WireError> {
        let mut hasher = FxHasher::default();
        hasher.write(bytes);
        let hash = hasher.finish();
        self.clock += 1;
        let found = self.entries.iter_mut().find(|entry| entry.hash == hash && *entry.bytes == *bytes);
        if let Some(entry) = found {
            entry.used = self.clock;
            return Ok(entry.prepared.clone());
        }
        let plan = Plan::read(&mut from).map_err(|error| error.within("plan").within("run"))?;
        let prepared = Arc::new(Prepared::new(plan)?);
        if bytes.len() <= KEPT_BYTES_MAX {
            let entry = Entry { hash, bytes: bytes.into(), prepared: prepared.clone(), used: self.clock };
            if self.entries.len() < self.entries_max {
                self.entries.push(entry);
            } else if let Some(oldest) = self.entries.iter_mut().min_by_key(|entry| entry.used) {
                *oldest = entry;
            }
        }
        Ok(prepared)
    }

    /// Decodes the params of `run`.
    ///
    /// # Errors
    /// `bad-request` with the field that is wrong; `version-mismatch` for a plan of another version; `invalid-value`.
    pub(crate) fn decode_run(&mut self, params: Decoder<'_>) -> Result<DecodedRun, WireError> {
        let fields = RunFields::read(params)?;
        let (bytes, from) = fields.plan;
        let prepared = self.get(bytes, from)?;
        let params = match fields.params {
            None => self.no_params.clone(),
            Some(mut from) => {
                let pairs = Pairs::<Value>::read(&mut from).map_err(|error| error.within("params"))?;
                Arc::new(convert::params(pairs, &prepared.entities)?)
            }
        };
        Ok(DecodedRun { prepared, params, fetch: fields.fetch, timeout_ms: fields.timeout_ms })
    }
}

/// The fields of `run`, plan and parameters not looked into.
struct RunFields<'a> {
    plan: (&'a [u8], Decoder<'a>),
    params: Option<Decoder<'a>>,
    fetch: Option<u32>,
    timeout_ms: Option<u64>,
}

impl<'a> RunFields<'a> {
    fn read(mut from: Decoder<'a>) -> Result<RunFields<'a>, WireError> {
        let bad = |why: &str| WireError::new(ErrorCode::BadRequest, format!("run: {why}"));
        let mut plan = None;
        let mut fields = RunFields { plan: (&[], from.clone()), params: None, fetch: None, timeout_ms: None };
        let mut seen = [false; 4];
        for _ in 0..from.map()? {
            let key = from.str()?;
            let index = match key {
                "plan" => 0,
                "params" => 1,
                "fetch" => 2,
                "timeout_ms" => 3,
                _ => return Err(bad(&format!("run has no field {key:?}"))),
            };
            if std::mem::replace(&mut seen[index], true) {
                return Err(bad(&format!("the key {key:?} occurs twice")));
            }
            let before = from.clone();
            match index {
                0 => {
                    from.skip()?;
                    let len = before.rest().len() - from.rest().len();
                    plan = before.rest().get(..len).map(|bytes| (bytes, before));
                }
                1 => {
                    from.skip()?;
                    fields.params = Some(before);
                }
                2 => fields.fetch = Option::read(&mut from).map_err(|error| error.within("fetch"))?,
                _ => {
                    fields.timeout_ms = Option::read(&mut from).map_err(|error| error.within("timeout_ms"))?
                }
            }
        }
        from.leave();
        from.finish()?;
        fields.plan = plan.ok_or_else(|| bad("run needs the field \"plan\""))?;
        if fields.fetch == Some(0) {
            return Err(bad("fetch is at least 1"));
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use graphite_protocol::messages::Run;
    use graphite_protocol::{Encoder, EntityRef, Step};

    fn encode(run: &Run) -> Vec<u8> {
        let mut bytes = Vec::new();
        run.write(&mut Encoder::new(&mut bytes));
        bytes
    }

    fn decode(cache: &mut PlanCache, bytes: &[u8]) -> Result<DecodedRun, WireError> {
        cache.decode_run(Decoder::new(bytes))
    }

    fn run(label: &str) -> Run {
        let plan = Plan::of([Step::Nodes { label: Some(label.to_owned()) }]);
        Run { plan, params: Pairs::default(), fetch: Some(3), timeout_ms: None }
    }

    #[test]
    fn the_same_bytes_are_decoded_once() {
        let mut cache = PlanCache::new(2);
        let first = decode(&mut cache, &encode(&run("A"))).unwrap();
        assert_eq!((first.fetch, first.timeout_ms), (Some(3), None));
        assert_eq!(first.prepared.columns, ["node"]);
        assert_eq!(first.prepared.describe(), "nodes");
        let again = decode(&mut cache, &encode(&run("A"))).unwrap();
        assert!(Arc::ptr_eq(&first.prepared, &again.prepared));
        // The one that was used longest ago goes.
        decode(&mut cache, &encode(&run("B"))).unwrap();
        decode(&mut cache, &encode(&run("A"))).unwrap();
        decode(&mut cache, &encode(&run("C"))).unwrap();
        let still = decode(&mut cache, &encode(&run("A"))).unwrap();
        assert!(Arc::ptr_eq(&first.prepared, &still.prepared));
        assert_eq!(cache.entries.len(), 2);
    }

    #[test]
    fn every_truncation_and_strange_field_is_an_error() {
        let mut cache = PlanCache::new(2);
        let who = EntityRef::Param("who".into());
        let plan = Plan::of([Step::Node { ids: vec![who], required: false }]);
        let params = [("who", Value::Int(7))].into_iter().collect();
        let whole = encode(&Run { plan, params, fetch: None, timeout_ms: Some(5) });
        let decoded = decode(&mut cache, &whole).unwrap();
        assert_eq!(decoded.params["who"], graphite_graph::Value::Int(7));
        for len in 0..whole.len() {
            assert!(decode(&mut cache, &whole[..len]).is_err(), "{len}");
        }
        let mut longer = whole.clone();
        longer.push(0xc0);
        assert!(decode(&mut cache, &longer).is_err());
        for (key, code) in [("plan", ErrorCode::BadRequest), ("plans", ErrorCode::BadRequest)] {
            let mut bytes = Vec::new();
            let mut out = Encoder::new(&mut bytes);
            out.map(2);
            for key in ["plan", key] {
                out.str(key);
                out.nil();
            }
            assert_eq!(decode(&mut cache, &bytes).unwrap_err().code, code);
        }
    }

    #[test]
    fn a_plan_that_was_slow_is_tried_again_now_and_then() {
        let prepared = Prepared::new(run("A").plan).unwrap();
        assert!(prepared.may_be_quick());
        prepared.was_quick(false);
        let tries = (0..64).filter(|_| prepared.may_be_quick()).count();
        assert_eq!(tries, 4);
        prepared.was_quick(true);
        assert!((0..64).all(|_| prepared.may_be_quick()));
    }
}
