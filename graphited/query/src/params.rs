//! Parameters: values for names in a plan.

use graphite_graph::Value;

use crate::rows::value_bytes;

/// Values for the parameters of a plan, by name. A node or edge is given by its id, as an integer of the same bits.
///
/// Mostly there is one, and never is one added later: so they are a sorted list.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Params(Vec<(String, Value)>);

impl Params {
    /// None.
    pub fn new() -> Params {
        Params::default()
    }

    /// The value called `name`.
    pub fn get(&self, name: &str) -> Option<&Value> {
        let found = self.0.binary_search_by(|(known, _)| known.as_str().cmp(name));
        found.ok().and_then(|index| self.0.get(index)).map(|(_, value)| value)
    }

    /// About how many bytes they take.
    pub(crate) fn bytes(&self) -> u64 {
        let own = size_of::<(String, Value)>() as u64;
        self.0.iter().map(|(name, value)| own + name.len() as u64 + value_bytes(value)).sum()
    }
}

/// Of several with one name, any counts.
impl From<Vec<(String, Value)>> for Params {
    fn from(mut pairs: Vec<(String, Value)>) -> Params {
        pairs.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
        Params(pairs)
    }
}

impl<const N: usize> From<[(String, Value); N]> for Params {
    fn from(pairs: [(String, Value); N]) -> Params {
        Params::from(Vec::from(pairs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_has_its_value() {
        let pairs: Vec<(String, Value)> =
            (0..40).rev().map(|number| (format!("p{number}"), Value::Int(number))).collect();
        let params = Params::from(pairs.clone());
        for (name, value) in &pairs {
            assert_eq!(params.get(name), Some(value));
        }
        assert_eq!(params.get("p"), None);
        assert_eq!(Params::new().get("p1"), None);
    }
}
