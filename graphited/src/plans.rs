//! Plans that are ready to run, and the decoding of `run` that finds them by their bytes.
//!
//! A client sends the same plan again and again with other parameters. Its bytes are then the same, so they are looked
//! up before anything is decoded: a plan that is known costs a hash and a comparison of its bytes.

use std::hash::Hasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use graphite_graph::NodeId;
use graphite_protocol::{Decoder, ErrorCode, Pairs, Plan, Value, Wire, WireError};
use graphite_query as query;
use rustc_hash::FxHasher;

use crate::lookup::Lookup;
use crate::{convert, errors, statement_text};

/// Longest plan, in bytes on the wire, that is kept ready.
const KEPT_BYTES_MAX: usize = 16 << 10;
/// Of so many runs of a plan that mostly did not come to an end on the reactor, one tries again.
const TRY_AGAIN_EVERY: u32 = 16;
/// A run that came to its end on the reactor is worth so much of one that did not: a try in vain costs about what a
/// worker's waking costs three times.
const MISS_WEIGHT: u32 = 3;
/// With more than this a plan is slow, for now.
const MISSES_BORNE: u32 = 8 * MISS_WEIGHT;

/// A plan that is ready to run.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// What to run.
    pub plan: Arc<query::Prepared>,
    /// Names of the answer's columns.
    pub columns: Vec<String>,
    /// The plan in a line, for whoever watches.
    pub text: Arc<str>,
    /// Whether it changes the graph.
    pub writes: bool,
    /// About how many bytes of memory it takes.
    pub memory_bytes: u64,
    /// If it reads one whole node.
    pub lookup: Option<Lookup>,
    /// Parameters that stand for entities.
    entities: Vec<String>,
    /// What tries in vain have cost, less what the others have saved.
    misses: AtomicU32,
    /// Runs that were not tried on the reactor since one was.
    untried: AtomicU32,
}

impl Prepared {
    /// Makes a plan ready, which takes so many bytes of memory.
    ///
    /// # Errors
    /// `bad-request` for a plan that makes no sense on any graph, `invalid-value`.
    pub(crate) fn new(plan: Plan, memory_bytes: u64) -> Result<Prepared, WireError> {
        let (plan, entities) = convert::plan(plan)?;
        let plan = query::Prepared::new(plan).map_err(|error| errors::of_query(&error))?;
        let columns = plan.columns().iter().map(|(name, _)| name.clone()).collect();
        let (text, writes) = (statement_text::of_plan(plan.plan()).into(), plan.is_write());
        let lookup = Lookup::of(plan.plan());
        Ok(Prepared {
            plan: Arc::new(plan),
            columns,
            text,
            writes,
            memory_bytes,
            lookup,
            entities,
            misses: AtomicU32::new(0),
            untried: AtomicU32::new(0),
        })
    }

    /// Whether it is worth a try on the reactor. How long a run takes depends on its parameters, so a plan that is
    /// slow now and then is tried all the same.
    pub(crate) fn may_be_quick(&self) -> bool {
        if self.misses.load(Ordering::Relaxed) <= MISSES_BORNE {
            return true;
        }
        let untried = self.untried.load(Ordering::Relaxed) + 1;
        self.untried.store(untried % TRY_AGAIN_EVERY, Ordering::Relaxed);
        untried == TRY_AGAIN_EVERY
    }

    /// It did, or did not, come to its end on the reactor.
    pub(crate) fn was_quick(&self, quick: bool) {
        let before = self.misses.load(Ordering::Relaxed);
        let misses = match quick {
            false => before.saturating_add(MISS_WEIGHT).min(2 * MISSES_BORNE),
            // A slow plan is tried seldom, so that its first success counts for many.
            true if before > MISSES_BORNE => MISSES_BORNE - MISS_WEIGHT,
            true => before.saturating_sub(1),
        };
        if misses != before {
            self.misses.store(misses, Ordering::Relaxed);
        }
    }
}

/// A `run` that is decoded.
#[derive(Debug)]
pub(crate) struct DecodedRun {
    /// The plan.
    pub prepared: Arc<Prepared>,
    /// Its parameters; see `lookup`.
    pub params: Arc<query::Params>,
    /// The node that is to be read, if the plan is no more than that; then `params` are empty until
    /// [`DecodedRun::is_no_lookup`] is called.
    pub lookup: Option<NodeId>,
    /// Most rows of the answer.
    pub fetch: Option<u32>,
    /// How long it may run.
    pub timeout_ms: Option<u64>,
    /// When it was taken up, if it was not answered at once.
    pub since: Option<Instant>,
}

impl DecodedRun {
    /// It is run as any other plan.
    pub(crate) fn is_no_lookup(&mut self) {
        if let (Some(id), Some(lookup)) = (self.lookup.take(), &self.prepared.lookup) {
            self.params = Arc::new(lookup.params(id));
        }
    }
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
    /// Which was used last.
    last: usize,
    clock: u64,
    no_params: Arc<query::Params>,
}

impl PlanCache {
    /// Keeps so many.
    pub(crate) fn new(entries_max: usize) -> PlanCache {
        PlanCache { entries: Vec::new(), entries_max, last: 0, clock: 0, no_params: Arc::default() }
    }

    /// Reads a plan.
    ///
    /// If the bytes begin with those of the plan that was used last, they are that plan: no value's bytes begin with
    /// another value's.
    fn read_plan(&mut self, from: &mut Decoder<'_>) -> Result<Arc<Prepared>, WireError> {
        self.clock += 1;
        if let Some(entry) =
            self.entries.get_mut(self.last).filter(|entry| from.rest().starts_with(&entry.bytes))
        {
            from.raw(entry.bytes.len())?;
            entry.used = self.clock;
            return Ok(entry.prepared.clone());
        }
        let mut before = from.clone();
        from.skip().map_err(|error| error.within("plan").within("run"))?;
        let bytes = before.rest().get(..before.rest().len() - from.rest().len()).unwrap_or_default();
        let mut hasher = FxHasher::default();
        hasher.write(bytes);
        let hash = hasher.finish();
        let found = self.entries.iter().position(|entry| entry.hash == hash && *entry.bytes == *bytes);
        if let Some((index, entry)) = found.and_then(|index| Some((index, self.entries.get_mut(index)?))) {
            entry.used = self.clock;
            self.last = index;
            return Ok(entry.prepared.clone());
        }
        let charged = before.charged();
        let plan = Plan::read(&mut before).map_err(|error| error.within("plan").within("run"))?;
        let memory_bytes = before.charged().saturating_sub(charged) as u64;
        let prepared = Arc::new(Prepared::new(plan, memory_bytes)?);
        if bytes.len() <= KEPT_BYTES_MAX {
            self.keep(Entry { hash, bytes: bytes.into(), prepared: prepared.clone(), used: self.clock });
        }
        Ok(prepared)
    }

    /// Keeps a plan, in place of the one that was used longest ago if there are enough.
    fn keep(&mut self, entry: Entry) {
        if self.entries.len() < self.entries_max {
            self.last = self.entries.len();
            self.entries.push(entry);
        } else if let Some((index, oldest)) =
            self.entries.iter_mut().enumerate().min_by_key(|(_, entry)| entry.used)
        {
            *oldest = entry;
            self.last = index;
        }
    }

    fn read_params(&self, from: &mut Decoder<'_>, plan: &Prepared) -> Result<Arc<query::Params>, WireError> {
        let pairs = Pairs::<Value>::read(from).map_err(|error| error.within("params").within("run"))?;
        if pairs.0.is_empty() {
            return Ok(self.no_params.clone());
        }
        Ok(Arc::new(convert::params(pairs, &plan.entities)?))
    }

    /// Decodes the params of `run`.
    ///
    /// # Errors
    /// `bad-request` with the field that is wrong; `version-mismatch` for a plan of another version; `invalid-value`.
    pub(crate) fn decode_run(&mut self, mut from: Decoder<'_>) -> Result<DecodedRun, WireError> {
        let bad = |why: &str| WireError::new(ErrorCode::BadRequest, format!("run: {why}"));
        let (mut prepared, mut params, mut fetch, mut timeout_ms) = (None, None, None, None);
        let mut lookup = None;
        // Parameters that come before the plan wait for it, for it says which of them stand for entities.
        let mut early = None;
        let mut seen = [false; 4];
        for _ in 0..from.map()? {
            let key = from.str()?;
            let fields = ["plan", "params", "fetch", "timeout_ms"];
            let Some(field) = fields.iter().position(|field| *field == key) else {
                return Err(bad(&format!("there is no field {key:?}")));
            };
            if std::mem::replace(&mut seen[field], true) {
                return Err(bad(&format!("the key {key:?} occurs twice")));
            }
            match (field, &prepared) {
                (0, _) => prepared = Some(self.read_plan(&mut from)?),
                (1, Some(plan)) => {
                    lookup = plan.lookup.as_ref().and_then(|lookup| lookup.take_id(&mut from));
                    if lookup.is_none() {
                        params = Some(self.read_params(&mut from, plan)?);
                    }
                }
                (1, None) => {
                    early = Some(from.clone());
                    from.skip()?;
                }
                (2, _) => {
                    fetch = Option::read(&mut from).map_err(|error| error.within("fetch").within("run"))?
                }
                _ => {
                    timeout_ms =
                        Option::read(&mut from).map_err(|error| error.within("timeout_ms").within("run"))?
                }
            }
        }
        from.leave();
        from.finish()?;
        let prepared = prepared.ok_or_else(|| bad("it needs the field \"plan\""))?;
        if let Some(mut early) = early {
            params = Some(self.read_params(&mut early, &prepared)?);
        }
        if fetch == Some(0) {
            return Err(bad("fetch is at least 1"));
        }
        let params = params.unwrap_or_else(|| self.no_params.clone());
        Ok(DecodedRun { prepared, params, lookup, fetch, timeout_ms, since: None })
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
        assert_eq!(&*first.prepared.text, "nodes :A");
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
        let whole = encode(&Run { plan: plan.clone(), params, fetch: None, timeout_ms: Some(5) });
        let mut decoded = decode(&mut cache, &whole).unwrap();
        assert_eq!((decoded.lookup, decoded.params.get("who")), (Some(NodeId(7)), None));
        decoded.is_no_lookup();
        assert_eq!(decoded.params.get("who"), Some(&graphite_graph::Value::Int(7)));
        // Whatever comes first.
        let mut turned = Vec::new();
        let mut out = Encoder::new(&mut turned);
        out.map(2);
        out.str("params");
        out.map(1);
        out.str("who");
        out.int(7);
        out.str("plan");
        plan.write(&mut out);
        assert_eq!(decode(&mut cache, &turned).unwrap().params, decoded.params);
        for len in 0..whole.len() {
            assert!(decode(&mut cache, &whole[..len]).is_err(), "{len}");
        }
        let mut longer = whole.clone();
        longer.push(0xc0);
        assert!(decode(&mut cache, &longer).is_err());
        for key in ["plan", "plans"] {
            let mut bytes = Vec::new();
            let mut out = Encoder::new(&mut bytes);
            out.map(2);
            for key in ["plan", key] {
                out.str(key);
                plan.write(&mut out);
            }
            let error = decode(&mut cache, &bytes).unwrap_err();
            assert_eq!(error.code, ErrorCode::BadRequest);
            assert!(error.message.contains(&format!("{key:?}")), "{error}");
        }
    }

    #[test]
    fn a_plan_that_is_slow_is_tried_now_and_then() {
        let prepared = Prepared::new(run("A").plan, 0).unwrap();
        let tries = || (0..64).filter(|_| prepared.may_be_quick()).count();
        assert_eq!(tries(), 64);
        (0..9).for_each(|_| prepared.was_quick(false));
        assert_eq!(tries(), 4);
        (0..1000).for_each(|_| prepared.was_quick(false));
        assert_eq!(tries(), 4);
        // One that is quick again is tried again.
        prepared.was_quick(true);
        assert_eq!(tries(), 64);
    }

    #[test]
    fn a_plan_that_is_mostly_quick_is_always_tried() {
        let prepared = Prepared::new(run("A").plan, 0).unwrap();
        for run in 0..1000 {
            assert!(prepared.may_be_quick());
            prepared.was_quick(run % 5 != 0);
        }
    }
}
