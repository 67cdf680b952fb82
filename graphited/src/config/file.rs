//! The configuration file: a flat TOML table.

use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::{Config, ConfigError, Origin};

/// Sets what the file says.
pub(super) fn read(path: &Path, config: &mut Config) -> Result<(), ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|error| ConfigError(format!("{}: {error}", path.display())))?;
    let at = |offset: usize, why: &str| {
        let line = 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        ConfigError(format!("{}:{line}: {why}", path.display()))
    };
    let table = DeTable::parse(&text)
        .map_err(|error| at(error.span().map_or(0, |span| span.start), error.message()))?;
    // In the order of the file, so that the first mistake is the one that is told.
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let text = match value.get_ref() {
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.as_str().to_owned(),
            DeValue::Boolean(value) => value.to_string(),
            other => {
                return Err(at(
                    key.span().start,
                    &format!("{} cannot be {}", key.get_ref(), other.type_str()),
                ));
            }
        };
        config.set(key.get_ref(), &text, Origin::File).map_err(|why| at(key.span().start, &why))?;
    }
    Ok(())
}
