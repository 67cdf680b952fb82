//! Reading MessagePack from a slice.
//!
//! A [`Decoder`] is a cursor over one frame's bytes. It hands out borrowed strings and bytes, never builds a
//! tree of its own, and keeps the two limits that bytes from a stranger need:
//!
//! 1. `depth` counts open lists, maps and extension values and never passes [`NESTING_MAX`];
//! 2. `budget` counts what callers allocate for what they decode, and never falls below zero. A list or map
//!    that claims more elements than there are bytes left is refused before anyone reserves room for it.

use rmp::Marker;

use crate::decode_error::{DecodeError, DecodeErrorKind};
use crate::{DECODED_BYTES_MAX, NESTING_MAX};

/// Shorthand for results of decoding.
pub(crate) type Result<T> = std::result::Result<T, DecodeError>;

/// What kind of value comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nil.
    Nil,
    /// A boolean.
    Bool,
    /// An integer, signed or not.
    Int,
    /// A float of 32 or 64 bits.
    Float,
    /// A string.
    String,
    /// Bytes.
    Bytes,
    /// An array.
    List,
    /// A map.
    Map,
    /// An extension value.
    Ext,
}

impl Kind {
    fn of(marker: Marker) -> Result<Kind> {
        Ok(match marker {
            Marker::Null => Kind::Nil,
            Marker::True | Marker::False => Kind::Bool,
            Marker::FixPos(_) | Marker::FixNeg(_) => Kind::Int,
            Marker::U8 | Marker::U16 | Marker::U32 | Marker::U64 => Kind::Int,
            Marker::I8 | Marker::I16 | Marker::I32 | Marker::I64 => Kind::Int,
            Marker::F32 | Marker::F64 => Kind::Float,
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => Kind::String,
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => Kind::Bytes,
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => Kind::List,
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => Kind::Map,
            Marker::FixExt1 | Marker::FixExt2 | Marker::FixExt4 | Marker::FixExt8 | Marker::FixExt16 => {
                Kind::Ext
            }
            Marker::Ext8 | Marker::Ext16 | Marker::Ext32 => Kind::Ext,
            Marker::Reserved => return Err(DecodeError::invalid("the byte 0xc1 begins no value")),
        })
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Nil => "nil",
            Kind::Bool => "a boolean",
            Kind::Int => "an integer",
            Kind::Float => "a float",
            Kind::String => "a string",
            Kind::Bytes => "bytes",
            Kind::List => "an array",
            Kind::Map => "a map",
            Kind::Ext => "an extension value",
        }
    }
}

/// A cursor over the bytes of one message.
#[derive(Clone, Debug)]
pub struct Decoder<'a> {
    /// What is not read yet.
    rest: &'a [u8],
    /// Lists, maps and extension values that are open here.
    depth: u32,
    /// Bytes of memory that may still be allocated for what is decoded.
    budget: usize,
}

impl<'a> Decoder<'a> {
    /// Reads `bytes` from their start.
    pub fn new(bytes: &'a [u8]) -> Decoder<'a> {
        Decoder { rest: bytes, depth: 0, budget: DECODED_BYTES_MAX }
    }

    /// Reads `bytes` that lie below `depth` open containers.
    pub(crate) fn at_depth(bytes: &'a [u8], depth: u32) -> Decoder<'a> {
        Decoder { rest: bytes, depth, budget: DECODED_BYTES_MAX }
    }

    /// What is not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Ends the reading: nothing may be left.
    pub fn finish(&self) -> Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(DecodeErrorKind::TrailingBytes { bytes: self.rest.len() }.into())
    }

    /// Accounts for `bytes` of memory that the caller is about to allocate.
    pub fn charge(&mut self, bytes: usize) -> Result<()> {
        self.budget = self.budget.checked_sub(bytes).ok_or(DecodeErrorKind::TooLarge)?;
        Ok(())
    }

    /// Bytes of memory that were accounted for up to here.
    pub fn charged(&self) -> usize {
        DECODED_BYTES_MAX - self.budget
    }

    /// The kind of the next value.
    #[inline]
    pub fn kind(&self) -> Result<Kind> {
        Kind::of(Marker::from_u8(*self.rest.first().ok_or(DecodeErrorKind::Truncated)?))
    }

    #[inline]
    fn marker(&mut self) -> Result<Marker> {
        let (&first, rest) = self.rest.split_first().ok_or(DecodeErrorKind::Truncated)?;
        self.rest = rest;
        Ok(Marker::from_u8(first))
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeErrorKind::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }

    #[inline]
    fn take(&mut self, len: u32) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len as usize).ok_or(DecodeErrorKind::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    #[inline]
    fn len8(&mut self) -> Result<u32> {
        Ok(u32::from(u8::from_be_bytes(self.array()?)))
    }

    #[inline]
    fn len16(&mut self) -> Result<u32> {
        Ok(u32::from(u16::from_be_bytes(self.array()?)))
    }

    #[inline]
    fn len32(&mut self) -> Result<u32> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    #[cold]
    fn unexpected(expected: &'static str, marker: Marker) -> DecodeError {
        match Kind::of(marker) {
            Ok(kind) => DecodeErrorKind::Unexpected { expected, found: kind.name() }.into(),
            Err(error) => error,
        }
    }

    /// Reads nil, if that is what comes next.
    #[inline]
    pub fn take_nil(&mut self) -> bool {
        match self.rest.split_first() {
            Some((0xc0, rest)) => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    /// Reads a boolean.
    pub fn bool(&mut self) -> Result<bool> {
        match self.marker()? {
            Marker::True => Ok(true),
            Marker::False => Ok(false),
            other => Err(Self::unexpected("a boolean", other)),
        }
    }

    /// Reads an integer of 64 signed bits, whatever form the sender chose.
    #[inline]
    pub fn i64(&mut self) -> Result<i64> {
        Ok(match self.marker()? {
            Marker::FixPos(value) => i64::from(value),
            Marker::FixNeg(value) => i64::from(value),
            Marker::U8 => i64::from(u8::from_be_bytes(self.array()?)),
            Marker::U16 => i64::from(u16::from_be_bytes(self.array()?)),
            Marker::U32 => i64::from(u32::from_be_bytes(self.array()?)),
            Marker::U64 => i64::try_from(u64::from_be_bytes(self.array()?))
                .map_err(|_| DecodeErrorKind::IntegerRange { into: "64 signed bits" })?,
            Marker::I8 => i64::from(i8::from_be_bytes(self.array()?)),
            Marker::I16 => i64::from(i16::from_be_bytes(self.array()?)),
            Marker::I32 => i64::from(i32::from_be_bytes(self.array()?)),
            Marker::I64 => i64::from_be_bytes(self.array()?),
            other => return Err(Self::unexpected("an integer", other)),
        })
    }

    /// Reads an integer of 64 unsigned bits: an id, a count, an LSN.
    #[inline]
    pub fn u64(&mut self) -> Result<u64> {
        if let Some((0xcf, rest)) = self.rest.split_first() {
            self.rest = rest;
            return Ok(u64::from_be_bytes(self.array()?));
        }
        u64::try_from(self.i64()?)
            .map_err(|_| DecodeErrorKind::IntegerRange { into: "64 unsigned bits" }.into())
    }

    /// Reads a float of 64 bits; one of 32 bits is widened.
    pub fn f64(&mut self) -> Result<f64> {
        match self.marker()? {
            Marker::F64 => Ok(f64::from_be_bytes(self.array()?)),
            Marker::F32 => Ok(f64::from(f32::from_be_bytes(self.array()?))),
            other => Err(Self::unexpected("a float", other)),
        }
    }

    /// Reads a string, without copying it.
    #[inline]
    pub fn str(&mut self) -> Result<&'a str> {
        let len = match self.marker()? {
            Marker::FixStr(len) => u32::from(len),
            Marker::Str8 => self.len8()?,
            Marker::Str16 => self.len16()?,
            Marker::Str32 => self.len32()?,
            other => return Err(Self::unexpected("a string", other)),
        };
        std::str::from_utf8(self.take(len)?).map_err(|_| DecodeErrorKind::Utf8.into())
    }

    /// Reads bytes, without copying them.
    pub fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = match self.marker()? {
            Marker::Bin8 => self.len8()?,
            Marker::Bin16 => self.len16()?,
            Marker::Bin32 => self.len32()?,
            other => return Err(Self::unexpected("bytes", other)),
        };
        self.take(len)
    }

    /// Opens a list and returns its length; its elements follow, then [`Decoder::leave`].
    #[inline]
    pub fn list(&mut self) -> Result<usize> {
        let len = match self.marker()? {
            Marker::FixArray(len) => u32::from(len),
            Marker::Array16 => self.len16()?,
            Marker::Array32 => self.len32()?,
            other => return Err(Self::unexpected("an array", other)),
        } as usize;
        self.enter()?;
        if len > self.rest.len() {
            return Err(DecodeErrorKind::Truncated.into());
        }
        Ok(len)
    }

    /// Opens a list of exactly `len` elements.
    pub fn list_of(&mut self, len: usize, expected: &'static str) -> Result<()> {
        let found = self.list()?;
        if found != len {
            return Err(DecodeErrorKind::Unexpected { expected, found: "an array of another length" }.into());
        }
        Ok(())
    }

    /// Opens a map and returns how many pairs it has; key and value of each follow, then [`Decoder::leave`].
    #[inline]
    pub fn map(&mut self) -> Result<usize> {
        let len = match self.marker()? {
            Marker::FixMap(len) => u32::from(len),
            Marker::Map16 => self.len16()?,
            Marker::Map32 => self.len32()?,
            other => return Err(Self::unexpected("a map", other)),
        } as usize;
        self.enter()?;
        if len > self.rest.len() / 2 {
            return Err(DecodeErrorKind::Truncated.into());
        }
        Ok(len)
    }

    #[inline]
    fn enter(&mut self) -> Result<()> {
        if self.depth >= NESTING_MAX {
            return Err(DecodeErrorKind::Nesting.into());
        }
        self.depth += 1;
        Ok(())
    }

    /// Closes the list, map or extension value that was opened last.
    #[inline]
    pub fn leave(&mut self) {
        self.depth -= 1;
    }

    /// Reads an extension value: its type and its payload, neither copied nor looked into.
    pub fn ext(&mut self) -> Result<(i8, &'a [u8])> {
        let len = match self.marker()? {
            Marker::FixExt1 => 1,
            Marker::FixExt2 => 2,
            Marker::FixExt4 => 4,
            Marker::FixExt8 => 8,
            Marker::FixExt16 => 16,
            Marker::Ext8 => self.len8()?,
            Marker::Ext16 => self.len16()?,
            Marker::Ext32 => self.len32()?,
            other => return Err(Self::unexpected("an extension value", other)),
        };
        let tag = i8::from_be_bytes(self.array()?);
        Ok((tag, self.take(len)?))
    }

    /// Decodes the payload of an extension value, which must be used up. The payload counts against the same
    /// limits as the message around it, and its own array is one level of nesting.
    pub fn payload<T>(
        &mut self,
        payload: &'a [u8],
        read: impl FnOnce(&mut Decoder<'a>) -> Result<T>,
    ) -> Result<T> {
        let mut inner = Decoder { rest: payload, depth: self.depth, budget: self.budget };
        let value = read(&mut inner)?;
        inner.finish()?;
        self.budget = inner.budget;
        Ok(value)
    }

    /// Reads `len` bytes that the caller knows to be whole values, without looking into them.
    #[inline]
    pub fn raw(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len).ok_or(DecodeErrorKind::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    /// Reads over one value, whatever it is.
    pub fn skip(&mut self) -> Result<()> {
        match self.kind()? {
            Kind::Nil => {
                self.take_nil();
            }
            Kind::Bool => {
                self.bool()?;
            }
            Kind::Int if self.rest.first() == Some(&0xcf) => {
                self.u64()?;
            }
            Kind::Int => {
                self.i64()?;
            }
            Kind::Float => {
                self.f64()?;
            }
            Kind::String => {
                self.str()?;
            }
            Kind::Bytes => {
                self.bytes()?;
            }
            Kind::Ext => {
                self.ext()?;
            }
            Kind::List => {
                for _ in 0..self.list()? {
                    self.skip()?;
                }
                self.leave();
            }
            Kind::Map => {
                for _ in 0..self.map()? {
                    self.skip()?;
                    self.skip()?;
                }
                self.leave();
            }
        }
        Ok(())
    }
}
