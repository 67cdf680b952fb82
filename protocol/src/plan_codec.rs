//! The wire form of plans, version 1: `{"v": 1, "pipelines": [[step...]...]}`, and `{"v": 1, "steps":
//! [step...]}` for a plan of one pipeline. A step is a map with its name under `"op"` and its arguments.

use crate::decode::{Decoder, Kind, Result};
use crate::decode_error::{DecodeError, DecodeErrorKind};
use crate::encode::Encoder;
use crate::plan::{EntityRef, Operand, OrderBy, PLAN_VERSION, Pipeline, Plan};
use crate::value::Value;
use crate::wire::{Wire, find_key};

/// Defines the enum of steps. A field may have a default, and is then left out of the map when it has that
/// value; `as` names it on the wire; `one` adds a name under which a single element of the list may stand.
macro_rules! steps {
    ($($(#[$meta:meta])* $name:ident = $op:literal {
        $($field:ident $(as $wire:literal)? $(one $one:literal)?: $type:ty $(= $default:expr)?),*
    },)*) => {
        /// One step of a pipeline.
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs)]
        pub enum Step {
            $($(#[$meta])* $name { $($field: $type,)* },)*
        }

        impl Step {
            /// Names of all steps.
            pub const OPS: &'static [&'static str] = &[$($op,)*];

            /// The step's name on the wire.
            pub fn op(&self) -> &'static str {
                match self {
                    $(Step::$name { .. } => $op,)*
                }
            }
        }

        impl $crate::wire::Wire for Step {
            fn write(&self, out: &mut $crate::encode::Encoder<'_>) {
                match self {
                    $(Step::$name { $($field),* } => {
                        let len = 1usize $(+ usize::from(
                            $crate::plan_codec::steps!(@written $field: $type $(, $default)?)
                        ))*;
                        out.map(len);
                        out.str("op");
                        out.str($op);
                        $(if $crate::plan_codec::steps!(@written $field: $type $(, $default)?) {
                            out.str($crate::wire::message!(@name $field $($wire)?));
                            $crate::wire::Wire::write($field, out);
                        })*
                    })*
                }
            }

            fn read(from: &mut $crate::decode::Decoder<'_>) -> std::result::Result<Step, $crate::decode_error::DecodeError> {
                use $crate::decode_error::DecodeErrorKind::*;
                let mut op = $crate::wire::find_key(from, "op")?
                    .ok_or(MissingField { of: "a step", field: "op" })?;
                match op.str()? {
                    $($op => {
                        $(let mut $field: Option<$type> = None;)*
                        let mut op_seen = false;
                        for _ in 0..from.map()? {
                            let key = from.str()?;
                            if key == "op" && !op_seen {
                                from.str()?;
                                op_seen = true;
                                continue;
                            }
                            $(if key == $crate::wire::message!(@name $field $($wire)?) {
                                if $field.is_some() {
                                    return Err(DuplicateKey { key: key.to_owned() }.into());
                                }
                                $field = Some($crate::wire::Wire::read(from).map_err(|e| e.within(key))?);
                                continue;
                            })*
                            $($(if key == $one {
                                if $field.is_some() {
                                    return Err(DuplicateKey { key: key.to_owned() }.into());
                                }
                                $field = Some(vec![$crate::wire::Wire::read(from).map_err(|e| e.within(key))?]);
                                continue;
                            })?)*
                            if key == "op" {
                                return Err(DuplicateKey { key: key.to_owned() }.into());
                            }
                            return Err(UnknownField { of: concat!("step ", $op), field: key.to_owned() }.into());
                        }
                        from.leave();
                        Ok(Step::$name {
                            $($field: $crate::plan_codec::steps!(
                                @or_default $field, $op, $crate::wire::message!(@name $field $($wire)?) $(, $default)?
                            ),)*
                        })
                    })*
                    other => Err(UnknownWord { what: "a step that this side knows", word: other.to_owned() }.into()),
                }
            }
        }
    };
    (@written $field:ident: $type:ty) => { true };
    (@written $field:ident: $type:ty, $default:expr) => {{
        let default: $type = $default;
        *$field != default
    }};
    (@or_default $field:ident, $op:literal, $name:expr) => {
        $field.ok_or(MissingField { of: concat!("step ", $op), field: $name })?
    };
    (@or_default $field:ident, $op:literal, $name:expr, $default:expr) => {
        $field.unwrap_or_else(|| $default)
    };
}
pub(crate) use steps;

impl Wire for Plan {
    fn write(&self, out: &mut Encoder<'_>) {
        out.map(2);
        out.str("v");
        out.uint(u64::from(PLAN_VERSION));
        match self.pipelines.as_slice() {
            [steps] => {
                out.str("steps");
                steps.write(out);
            }
            pipelines => {
                out.str("pipelines");
                out.list(pipelines.len());
                for steps in pipelines {
                    steps.write(out);
                }
            }
        }
    }

    fn read(from: &mut Decoder<'_>) -> Result<Plan> {
        const OF: &str = "a plan";
        // The version is looked at first, for a plan of another one may have other fields.
        let mut version = find_key(from, "v")?.ok_or(DecodeErrorKind::MissingField { of: OF, field: "v" })?;
        let found = version.u64().map_err(|e| e.within("v"))?;
        if found != u64::from(PLAN_VERSION) {
            return Err(DecodeErrorKind::PlanVersion { found, expected: PLAN_VERSION }.into());
        }
        let mut version_seen = false;
        let mut pipelines: Option<Vec<Pipeline>> = None;
        for _ in 0..from.map()? {
            let key = from.str()?;
            match key {
                "v" if !version_seen => {
                    from.u64()?;
                    version_seen = true;
                }
                "steps" | "pipelines" if pipelines.is_some() => {
                    return Err(DecodeError::invalid("a plan has either steps or pipelines, and once"));
                }
                "steps" => pipelines = Some(vec![Pipeline::read(from).map_err(|e| e.within(key))?]),
                "pipelines" => pipelines = Some(Vec::read(from).map_err(|e| e.within(key))?),
                "v" => return Err(DecodeErrorKind::DuplicateKey { key: key.to_owned() }.into()),
                _ => return Err(DecodeErrorKind::UnknownField { of: OF, field: key.to_owned() }.into()),
            }
        }
        from.leave();
        let pipelines = pipelines.ok_or(DecodeErrorKind::MissingField { of: OF, field: "pipelines" })?;
        Ok(Plan { pipelines })
    }
}

fn write_pair(out: &mut Encoder<'_>, key: &str, value: &str) {
    out.map(1);
    out.str(key);
    out.str(value);
}

impl Wire for EntityRef {
    fn write(&self, out: &mut Encoder<'_>) {
        match self {
            EntityRef::Id(id) => out.uint(*id),
            EntityRef::Param(name) => write_pair(out, "param", name),
            EntityRef::Row { pipeline, row } => {
                out.map(if *row == 0 { 1 } else { 2 });
                out.str("ref");
                out.uint(u64::from(*pipeline));
                if *row != 0 {
                    out.str("row");
                    out.uint(u64::from(*row));
                }
            }
        }
    }

    fn read(from: &mut Decoder<'_>) -> Result<EntityRef> {
        if from.kind()? == Kind::Int {
            return Ok(EntityRef::Id(from.u64()?));
        }
        let EntityRefMap { param, pipeline, row } = EntityRefMap::read(from)?;
        match (param, pipeline, row) {
            (Some(name), None, None) => Ok(EntityRef::Param(name)),
            (None, Some(pipeline), row) => Ok(EntityRef::Row { pipeline, row: row.unwrap_or(0) }),
            _ => Err(DecodeError::invalid(
                r#"an entity is an id, {"param": name} or {"ref": pipeline, "row": row}"#,
            )),
        }
    }
}

crate::wire::message! { request "an entity",
    /// The maps that an [`EntityRef`] may be.
    struct EntityRefMap {
        /// Of [`EntityRef::Param`].
        pub param: Option<String>,
        /// Of [`EntityRef::Row`].
        pub pipeline as "ref": Option<u32>,
        /// Of [`EntityRef::Row`].
        pub row: Option<u32>,
    }
}

impl Wire for Operand {
    fn write(&self, out: &mut Encoder<'_>) {
        match self {
            Operand::Value(value) => value.write(out),
            Operand::Param(name) => write_pair(out, "param", name),
        }
    }

    fn read(from: &mut Decoder<'_>) -> Result<Operand> {
        if from.kind()? != Kind::Map {
            return Value::read(from).map(Operand::Value);
        }
        if from.map()? != 1 || from.str()? != "param" {
            return Err(DecodeError::invalid(r#"a map cannot stand here, unless it is {"param": name}"#));
        }
        let name = String::read(from).map_err(|e| e.within("param"))?;
        from.leave();
        Ok(Operand::Param(name))
    }
}

impl Wire for OrderBy {
    fn write(&self, out: &mut Encoder<'_>) {
        match self {
            OrderBy::Column(name) => write_pair(out, "column", name),
            OrderBy::Key(name) => write_pair(out, "key", name),
        }
    }

    fn read(from: &mut Decoder<'_>) -> Result<OrderBy> {
        const SHAPE: &str = r#"order is by {"column": name} or {"key": name}"#;
        if from.map()? != 1 {
            return Err(DecodeError::invalid(SHAPE));
        }
        let order = match from.str()? {
            "column" => OrderBy::Column(String::read(from)?),
            "key" => OrderBy::Key(String::read(from)?),
            _ => return Err(DecodeError::invalid(SHAPE)),
        };
        from.leave();
        Ok(order)
    }
}
