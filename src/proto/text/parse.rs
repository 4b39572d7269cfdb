//! From text to messages, by their descriptors.

use super::lexer::Lexer;
use super::number::parse_double;
use super::pool;
use crate::error::Result;
use prost::Message;
use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage, Value};

/// Messages nest at most this deep, as in the binary form.
const DEEPEST: usize = 100;

/// How strictly a text is read.
#[derive(Clone, Copy, Debug, Default)]
pub struct ParseOptions {
    /// Pass over fields that the message doesn't have.
    pub skip_unknown: bool,
    /// Where a field that holds one value is given several, the last counts.
    pub last_counts: bool,
}

pub(super) fn message(text: &str, descriptor: MessageDescriptor, options: ParseOptions) -> Result<DynamicMessage> {
    let mut parser = Parser { lexer: Lexer::new(text), options };
    let mut message = DynamicMessage::new(descriptor);
    while parser.lexer.peek().is_some() {
        parser.field(&mut message, 0)?;
    }
    Ok(message)
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    options: ParseOptions,
}

impl Parser<'_> {
    fn field(&mut self, message: &mut DynamicMessage, depth: usize) -> Result<()> {
        let at = self.lexer.clone();
        let descriptor = message.descriptor();
        let name = self.lexer.name()?;
        let colon = self.lexer.take(':');
        let is_message = matches!(self.lexer.peek(), Some('{' | '<'));
        if !colon && !is_message {
            return self.lexer.fail("expected ':'");
        }
        match descriptor.get_field_by_name(&name) {
            Some(field) => self.values(message, &field, &at, depth)?,
            None if name.contains('/') && descriptor.full_name() == "google.protobuf.Any" => self.any(message, &name, depth)?,
            None if self.options.skip_unknown => self.skip()?,
            None => return at.fail(&format!("expected a field of {}", descriptor.full_name())),
        }
        if !self.lexer.take(',') {
            self.lexer.take(';');
        }
        Ok(())
    }

    /// What follows the name of a field that isn't known.
    fn skip(&mut self) -> Result<()> {
        match self.lexer.peek() {
            Some('{' | '<') => self.lexer.skip_message(),
            Some('"' | '\'') => self.lexer.string().map(drop),
            Some('[') => self.list(|parser| parser.skip_one()),
            _ => self.lexer.scalar().map(drop),
        }
    }

    fn skip_one(&mut self) -> Result<()> {
        if self.lexer.peek() == Some('[') { self.lexer.fail("expected a value") } else { self.skip() }
    }

    /// Values in brackets with commas between them.
    fn list(&mut self, mut item: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        self.lexer.take('[');
        if self.lexer.take(']') {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.lexer.take(']') {
                return Ok(());
            }
            if !self.lexer.take(',') {
                return self.lexer.fail("expected ',' or ']'");
            }
        }
    }

    fn values(&mut self, message: &mut DynamicMessage, field: &FieldDescriptor, at: &Lexer, depth: usize) -> Result<()> {
        if field.is_list() || field.is_map() {
            if self.lexer.peek() == Some('[') {
                return self.list(|parser| parser.add(message, field, depth));
            }
            return self.add(message, field, depth);
        }
        if !self.options.last_counts {
            let taken = match field.containing_oneof() {
                Some(oneof) => oneof.fields().find(|f| message.has_field(f)),
                None => Some(field.clone()).filter(|f| message.has_field(f)),
            };
            if let Some(taken) = taken {
                return at.fail(&format!("expected one value, but '{}' has been given", taken.name()));
            }
        }
        let value = self.value(&field.kind(), depth)?;
        message.set_field(field, value);
        Ok(())
    }

    fn add(&mut self, message: &mut DynamicMessage, field: &FieldDescriptor, depth: usize) -> Result<()> {
        let value = self.value(&field.kind(), depth)?;
        match message.get_field_mut(field) {
            Value::List(list) => list.push(value),
            Value::Map(map) => {
                let Value::Message(entry) = value else { return self.lexer.fail("expected an entry of a map") };
                let part = |number| entry.get_field_by_number(number).map(|v| v.into_owned());
                if let (Some(key), Some(value)) = (part(1).and_then(map_key), part(2)) {
                    map.insert(key, value);
                }
            }
            _ => return self.lexer.fail("expected one value"),
        }
        Ok(())
    }

    /// A message in braces or angle brackets.
    fn message(&mut self, descriptor: MessageDescriptor, depth: usize) -> Result<DynamicMessage> {
        if depth >= DEEPEST {
            return self.lexer.fail(&format!("expected at most {DEEPEST} messages within each other"));
        }
        let close = match self.lexer.peek() {
            Some('{') => '}',
            Some('<') => '>',
            _ => return self.lexer.fail("expected '{'"),
        };
        self.lexer.take(if close == '}' { '{' } else { '<' });
        let mut message = DynamicMessage::new(descriptor);
        while !self.lexer.take(close) {
            if self.lexer.peek().is_none() {
                return self.lexer.fail(&format!("expected '{close}'"));
            }
            self.field(&mut message, depth + 1)?;
        }
        Ok(message)
    }

    /// An `Any` that is written as the message that it holds.
    fn any(&mut self, message: &mut DynamicMessage, url: &str, depth: usize) -> Result<()> {
        let name = url.rsplit('/').next().unwrap_or(url);
        let Some(descriptor) = pool().get_message_by_name(name) else {
            return self.lexer.fail(&format!("expected a message of known type, not '{url}'"));
        };
        let held = self.message(descriptor, depth)?;
        message.set_field_by_number(1, Value::String(url.to_string()));
        message.set_field_by_number(2, Value::Bytes(held.encode_to_vec().into()));
        Ok(())
    }

    fn value(&mut self, kind: &Kind, depth: usize) -> Result<Value> {
        let at = self.lexer.clone();
        Ok(match kind {
            Kind::Message(descriptor) => Value::Message(self.message(descriptor.clone(), depth)?),
            Kind::Bytes => Value::Bytes(self.lexer.string()?.into()),
            Kind::String => match String::from_utf8(self.lexer.string()?) {
                Ok(text) => Value::String(text),
                Err(_) => return at.fail("expected a string of UTF-8"),
            },
            Kind::Enum(names) => Value::EnumNumber(self.enumeration(names)?),
            Kind::Bool => match self.lexer.scalar()?.as_str() {
                "true" | "True" | "t" | "1" => Value::Bool(true),
                "false" | "False" | "f" | "0" => Value::Bool(false),
                _ => return at.fail("expected true or false"),
            },
            Kind::Float | Kind::Double => {
                let word = self.lexer.scalar()?;
                let Some(number) = parse_double(&word) else { return at.fail("expected a number") };
                if matches!(kind, Kind::Float) { Value::F32(number as f32) } else { Value::F64(number) }
            }
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(self.integer()?),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(self.integer()?),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(self.integer()?),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(self.integer()?),
        })
    }

    fn enumeration(&mut self, names: &EnumDescriptor) -> Result<i32> {
        let at = self.lexer.clone();
        let word = self.lexer.scalar()?;
        match names.get_value_by_name(&word).map(|v| v.number()).or_else(|| integer(&word)?.try_into().ok()) {
            Some(number) => Ok(number),
            None => at.fail(&format!("expected a value of {}", names.full_name())),
        }
    }

    fn integer<T: TryFrom<i128>>(&mut self) -> Result<T> {
        let at = self.lexer.clone();
        match integer(&self.lexer.scalar()?).and_then(|v| T::try_from(v).ok()) {
            Some(value) => Ok(value),
            None => at.fail(&format!("expected an integer of {} bits", size_of::<T>() * 8)),
        }
    }
}

/// A decimal, hexadecimal (`0x1f`) or octal (`017`) integer.
fn integer(word: &str) -> Option<i128> {
    let (negative, digits) = word.strip_prefix('-').map_or((false, word), |rest| (true, rest));
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return None;
    }
    let value = i128::from_str_radix(digits, radix).ok()?;
    Some(if negative { -value } else { value })
}

fn map_key(value: Value) -> Option<MapKey> {
    Some(match value {
        Value::Bool(v) => MapKey::Bool(v),
        Value::I32(v) => MapKey::I32(v),
        Value::I64(v) => MapKey::I64(v),
        Value::U32(v) => MapKey::U32(v),
        Value::U64(v) => MapKey::U64(v),
        Value::String(v) => MapKey::String(v),
        _ => return None,
    })
}
