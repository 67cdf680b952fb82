//! How typed values cross the wire: the [`Wire`] trait, its forms of the common types, and the macros that
//! write it for messages (maps with named fields) and for words (enums that are strings).
//!
//! 1. What a client sends is read strictly: an unknown, missing or doubled field is refused by name, so a
//!    typing mistake never becomes a default.
//! 2. What a daemon sends is read leniently: unknown fields are read over, so that a newer daemon of the same
//!    protocol version may tell more.
//! 3. A field that is `None` is not written. A field that is absent or nil is `None`.

use crate::TOKEN_BYTES_MAX;
use crate::decode::{Decoder, Kind, Result};
use crate::decode_error::DecodeError;
use crate::encode::Encoder;
use crate::value_codec::read_pairs;

/// A type with one form on the wire.
pub trait Wire: Sized {
    /// Writes the value.
    fn write(&self, out: &mut Encoder<'_>);

    /// Reads a value.
    ///
    /// # Errors
    /// A [`DecodeError`] with the field in which the bytes went wrong.
    fn read(from: &mut Decoder<'_>) -> Result<Self>;

    /// What a field of this type is when its map does not have it; `None` if the map must.
    fn absent() -> Option<Self> {
        None
    }

    /// Whether a field with this value is left out of its map.
    fn is_absent(&self) -> bool {
        false
    }
}

/// Reads one value that takes all that is left.
pub(crate) fn read_all<T: Wire>(mut from: Decoder<'_>) -> Result<T> {
    let value = T::read(&mut from)?;
    from.finish()?;
    Ok(value)
}

impl Wire for bool {
    fn write(&self, out: &mut Encoder<'_>) {
        out.bool(*self);
    }
    fn read(from: &mut Decoder<'_>) -> Result<bool> {
        from.bool()
    }
}

impl Wire for u64 {
    fn write(&self, out: &mut Encoder<'_>) {
        out.uint(*self);
    }
    fn read(from: &mut Decoder<'_>) -> Result<u64> {
        from.u64()
    }
}

impl Wire for u32 {
    fn write(&self, out: &mut Encoder<'_>) {
        out.uint(u64::from(*self));
    }
    fn read(from: &mut Decoder<'_>) -> Result<u32> {
        use crate::decode_error::DecodeErrorKind::IntegerRange;
        u32::try_from(from.u64()?).map_err(|_| IntegerRange { into: "32 unsigned bits" }.into())
    }
}

impl Wire for String {
    fn write(&self, out: &mut Encoder<'_>) {
        out.str(self);
    }
    fn read(from: &mut Decoder<'_>) -> Result<String> {
        let text = from.str()?;
        from.charge(text.len())?;
        Ok(text.to_owned())
    }
}

impl<T: Wire> Wire for Option<T> {
    fn write(&self, out: &mut Encoder<'_>) {
        match self {
            Some(value) => value.write(out),
            None => out.nil(),
        }
    }
    fn read(from: &mut Decoder<'_>) -> Result<Option<T>> {
        if from.take_nil() { Ok(None) } else { T::read(from).map(Some) }
    }
    fn absent() -> Option<Option<T>> {
        Some(None)
    }
    fn is_absent(&self) -> bool {
        self.is_none()
    }
}

impl<T: Wire> Wire for Vec<T> {
    fn write(&self, out: &mut Encoder<'_>) {
        out.list(self.len());
        for item in self {
            item.write(out);
        }
    }
    fn read(from: &mut Decoder<'_>) -> Result<Vec<T>> {
        let len = from.list()?;
        from.charge(len.saturating_mul(size_of::<T>()))?;
        let mut items = Vec::with_capacity(len);
        for index in 0..len {
            items.push(T::read(from).map_err(|e| e.at_index(index))?);
        }
        from.leave();
        Ok(items)
    }
}

/// A name that a client picks, 1 to [`TOKEN_BYTES_MAX`] bytes: of a commit that it may ask for later, or of an
/// import that it may resume. Sent as bytes; a string is read as its UTF-8 bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(Vec<u8>);

impl Token {
    /// Checks the length.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Token> {
        let bytes = bytes.into();
        if bytes.is_empty() || bytes.len() > TOKEN_BYTES_MAX {
            return Err(DecodeError::invalid("a token has 1 to 32 bytes"));
        }
        Ok(Token(bytes))
    }

    /// The token's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Wire for Token {
    fn write(&self, out: &mut Encoder<'_>) {
        out.bytes(&self.0);
    }
    fn read(from: &mut Decoder<'_>) -> Result<Token> {
        let bytes = if from.kind()? == Kind::String { from.str()?.as_bytes() } else { from.bytes()? };
        Token::new(bytes)
    }
}

/// Pairs of a name and a value, a map on the wire: parameters, or properties to be set. No name occurs twice.
#[derive(Clone, Debug, PartialEq)]
pub struct Pairs<T>(pub Vec<(String, T)>);

impl<T> Default for Pairs<T> {
    fn default() -> Pairs<T> {
        Pairs(Vec::new())
    }
}

impl<T> Pairs<T> {
    /// The value called `name`.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }
}

impl<K: Into<String>, V: Into<T>, T> FromIterator<(K, V)> for Pairs<T> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Pairs<T> {
        Pairs(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

impl<T: Wire> Wire for Pairs<T> {
    fn write(&self, out: &mut Encoder<'_>) {
        out.map(self.0.len());
        for (key, value) in &self.0 {
            out.str(key);
            value.write(out);
        }
    }
    fn read(from: &mut Decoder<'_>) -> Result<Pairs<T>> {
        Ok(Pairs(read_pairs(from)?))
    }
    fn absent() -> Option<Pairs<T>> {
        Some(Pairs::default())
    }
    fn is_absent(&self) -> bool {
        self.0.is_empty()
    }
}

/// Finds `key` in the map that comes next, without reading the map: the cursor that is returned stands at the
/// key's value.
pub(crate) fn find_key<'a>(from: &Decoder<'a>, key: &str) -> Result<Option<Decoder<'a>>> {
    let mut ahead = from.clone();
    for _ in 0..ahead.map()? {
        if ahead.str()? == key {
            return Ok(Some(ahead));
        }
        ahead.skip()?;
    }
    Ok(None)
}

/// Defines a message: a struct that is a map on the wire. `request` structs are read strictly, `reply` structs
/// leniently. The text after the kind is how errors call it; `as` gives a field another name on the wire.
macro_rules! message {
    ($mode:ident $of:literal, $(#[$meta:meta])* $vis:vis struct $name:ident {
        $($(#[$field_meta:meta])* pub $field:ident $(as $wire:literal)?: $type:ty $(= $default:expr)?,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name {
            $($(#[$field_meta])* $vis $field: $type,)*
        }

        impl $crate::wire::Wire for $name {
            fn write(&self, out: &mut $crate::encode::Encoder<'_>) {
                let present = 0usize $(+ usize::from(!$crate::wire::Wire::is_absent(&self.$field)))*;
                out.map(present);
                $(if !$crate::wire::Wire::is_absent(&self.$field) {
                    out.str($crate::wire::message!(@name $field $($wire)?));
                    $crate::wire::Wire::write(&self.$field, out);
                })*
            }

            fn read(from: &mut $crate::decode::Decoder<'_>) -> std::result::Result<Self, $crate::decode_error::DecodeError> {
                #[allow(unused_imports)]
                use $crate::decode_error::DecodeErrorKind::*;
                $(let mut $field: Option<$type> = None;)*
                for _ in 0..from.map()? {
                    let key = from.str()?;
                    $(if key == $crate::wire::message!(@name $field $($wire)?) {
                        if $field.is_some() {
                            return Err(DuplicateKey { key: key.to_owned() }.into());
                        }
                        $field = Some($crate::wire::Wire::read(from).map_err(|e| e.within(key))?);
                        continue;
                    })*
                    $crate::wire::message!(@unknown $mode $of, key, from);
                }
                from.leave();
                Ok($name {
                    $($field: match $field.or_else($crate::wire::Wire::absent) {
                        Some(value) => value,
                        None => $crate::wire::message!(@missing $of, $field $($wire)? $(= $default)?),
                    },)*
                })
            }
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $wire:literal) => { $wire };
    (@missing $of:literal, $field:ident $($wire:literal)?) => {
        return Err(MissingField { of: $of, field: $crate::wire::message!(@name $field $($wire)?) }.into())
    };
    (@missing $of:literal, $field:ident $($wire:literal)? = $default:expr) => { $default };
    (@unknown request $of:literal, $key:ident, $from:ident) => {
        return Err(UnknownField { of: $of, field: $key.to_owned() }.into())
    };
    (@unknown reply $of:literal, $key:ident, $from:ident) => {
        $from.skip().map_err(|e| e.within($key))?
    };
}
pub(crate) use message;

/// Defines an enum that is one of a few words on the wire.
macro_rules! words {
    ($what:literal, $(#[$meta:meta])* pub enum $name:ident {
        $($(#[$variant_meta:meta])* $variant:ident = $word:literal,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_meta])* $variant,)*
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [$name] = &[$($name::$variant,)*];

            /// The word on the wire.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl $crate::wire::Wire for $name {
            fn write(&self, out: &mut $crate::encode::Encoder<'_>) {
                out.str(self.as_str());
            }
            fn read(from: &mut $crate::decode::Decoder<'_>) -> std::result::Result<Self, $crate::decode_error::DecodeError> {
                match from.str()? {
                    $($word => Ok($name::$variant),)*
                    other => Err($crate::decode_error::DecodeErrorKind::UnknownWord {
                        what: $what,
                        word: other.to_owned(),
                    }.into()),
                }
            }
        }
    };
}
pub(crate) use words;
