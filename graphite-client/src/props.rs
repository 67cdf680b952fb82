//! Properties and parameters: names with values, from whatever is at hand.

use graphite_protocol::{Operand, Pairs, Value};

/// Names with values: properties of a node or edge, or parameters of a plan.
///
/// Made by [`props!`](crate::props), or from `()`, an array, a `Vec`, or an iterator of pairs. If a name comes
/// twice, the last value counts.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Props(Vec<(String, Value)>);

/// Parameters of a plan.
pub type Params = Props;

impl Props {
    /// None.
    pub fn new() -> Props {
        Props::default()
    }

    /// Sets a value.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some(pair) => pair.1 = value,
            None => self.0.push((name, value)),
        }
    }

    /// The value called `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value)
    }

    pub(crate) fn into_pairs(self) -> Pairs<Value> {
        Pairs(self.0)
    }

    /// As operands of a step that stand for parameters, whose values are added to `params`. A parameter is called as
    /// the property with a dot before it, so that it is never taken for one that a step has besides.
    pub(crate) fn into_params(self, params: &mut Params) -> Pairs<Operand> {
        let parameter = |(name, value): (String, Value)| {
            let of = format!(".{name}");
            params.0.push((of.clone(), value));
            (name, Operand::Param(of))
        };
        Pairs(self.0.into_iter().map(parameter).collect())
    }

    pub(crate) fn into_operands(self) -> Pairs<Operand> {
        Pairs(self.0.into_iter().map(|(name, value)| (name, Operand::Value(value))).collect())
    }
}

impl<K: Into<String>, V: Into<Value>> FromIterator<(K, V)> for Props {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Props {
        let mut props = Props::new();
        pairs.into_iter().for_each(|(name, value)| props.insert(name, value));
        props
    }
}

impl From<()> for Props {
    fn from((): ()) -> Props {
        Props::new()
    }
}

impl<K: Into<String>, V: Into<Value>, const N: usize> From<[(K, V); N]> for Props {
    fn from(pairs: [(K, V); N]) -> Props {
        pairs.into_iter().collect()
    }
}

impl<K: Into<String>, V: Into<Value>> From<Vec<(K, V)>> for Props {
    fn from(pairs: Vec<(K, V)>) -> Props {
        pairs.into_iter().collect()
    }
}

/// Properties or parameters with values of any kinds.
///
/// ```
/// use graphite_client::{Value, props};
/// let ada = props! { "name" => "Ada", "born" => 1815, "height" => 1.65, "alive" => false };
/// assert_eq!(ada.get("born"), Some(&Value::Int(1815)));
/// ```
#[macro_export]
macro_rules! props {
    ($($name:expr => $value:expr),* $(,)?) => {{
        #[allow(unused_mut)]
        let mut props = $crate::Props::new();
        $(props.insert($name, $value);)*
        props
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_name_counts() {
        let props = Props::from([("a", 1), ("b", 2), ("a", 3)]);
        assert_eq!(props, props! { "a" => 3, "b" => 2 });
        assert_eq!(Props::from(()), props! {});
    }
}
