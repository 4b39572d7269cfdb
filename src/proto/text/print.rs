//! From messages to text.

use super::number::{format_double, format_float, format_general, quote};
use super::pool;
use prost_reflect::{DynamicMessage, Kind, MapKey, ReflectMessage, Value};

/// How a message is written. The styles differ in numbers, letters beyond ASCII and messages within an `Any`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// As Python's `text_format.MessageToString`: the shortest digits, `1.0`.
    MessageToString,
    /// As `tf.train.write_graph`, which writes floats with all digits of a double.
    WriteGraph,
    /// As `str(message)`, which is what the text form of a SavedModel is: `1`, strings in UTF-8.
    Str,
}

pub(super) fn message(message: &DynamicMessage, style: Style) -> String {
    let mut printer = Printer { style, indent: 0, out: String::new() };
    printer.fields(message);
    printer.out
}

struct Printer {
    style: Style,
    indent: usize,
    out: String,
}

impl Printer {
    fn fields(&mut self, message: &DynamicMessage) {
        if self.style != Style::Str && self.any(message) {
            return;
        }
        let mut fields: Vec<_> = message.fields().collect();
        fields.sort_by_key(|(field, _)| field.number());
        for (field, value) in fields {
            match value {
                Value::List(list) => list.iter().for_each(|v| self.field(field.name(), v, &field.kind())),
                Value::Map(map) => {
                    let Kind::Message(entry) = field.kind() else { continue };
                    let mut entries: Vec<_> = map.iter().collect();
                    entries.sort_by(|a, b| a.0.cmp(b.0));
                    for (key, value) in entries {
                        self.open(field.name());
                        let (key, kind) = (key_value(key), entry.map_entry_value_field().kind());
                        for (name, value, kind) in [("key", &key, entry.map_entry_key_field().kind()), ("value", value, kind)] {
                            let is_written = self.style == Style::Str || !value.is_default(&kind);
                            if is_written || matches!(value, Value::Message(_)) {
                                self.field(name, value, &kind);
                            }
                        }
                        self.close();
                    }
                }
                value => self.field(field.name(), value, &field.kind()),
            }
        }
    }

    /// Writes an `Any` as the message that it holds, where that is a known one.
    fn any(&mut self, message: &DynamicMessage) -> bool {
        if message.descriptor().full_name() != "google.protobuf.Any" {
            return false;
        }
        let part = |number| message.get_field_by_number(number).map(|v| v.into_owned());
        let (Some(Value::String(url)), Some(Value::Bytes(bytes))) = (part(1), part(2)) else { return false };
        let Some((_, name)) = url.rsplit_once('/') else { return false };
        let Some(descriptor) = pool().get_message_by_name(name) else { return false };
        let Ok(held) = DynamicMessage::decode(descriptor, bytes) else { return false };
        self.open(&format!("[{url}]"));
        self.fields(&held);
        self.close();
        true
    }

    fn line(&mut self) {
        self.out.extend(std::iter::repeat_n(' ', self.indent));
    }

    fn open(&mut self, name: &str) {
        self.line();
        self.out += name;
        self.out += " {\n";
        self.indent += 2;
    }

    fn close(&mut self) {
        self.indent -= 2;
        self.line();
        self.out += "}\n";
    }

    fn field(&mut self, name: &str, value: &Value, kind: &Kind) {
        if let Value::Message(message) = value {
            self.open(name);
            self.fields(message);
            self.close();
            return;
        }
        self.line();
        self.out += name;
        self.out += ": ";
        self.out += &self.scalar(value, kind);
        self.out.push('\n');
    }

    fn scalar(&self, value: &Value, kind: &Kind) -> String {
        match value {
            Value::Bool(v) => v.to_string(),
            Value::I32(v) => v.to_string(),
            Value::I64(v) => v.to_string(),
            Value::U32(v) => v.to_string(),
            Value::U64(v) => v.to_string(),
            Value::F32(v) => match self.style {
                Style::MessageToString => format_float(*v),
                Style::WriteGraph => format_double(f64::from(*v)),
                Style::Str => format_general(f64::from(*v), 6, 9, |text| text.parse::<f32>().ok() == Some(*v)),
            },
            Value::F64(v) => match self.style {
                Style::Str => format_general(*v, 15, 17, |text| text.parse::<f64>().ok() == Some(*v)),
                _ => format_double(*v),
            },
            Value::String(v) => quote(v.as_bytes(), self.style == Style::Str),
            Value::Bytes(v) => quote(v, false),
            Value::EnumNumber(number) => match kind {
                Kind::Enum(names) => names.get_value(*number).map_or_else(|| number.to_string(), |v| v.name().to_string()),
                _ => number.to_string(),
            },
            Value::Message(_) | Value::List(_) | Value::Map(_) => String::new(),
        }
    }
}

fn key_value(key: &MapKey) -> Value {
    match key {
        MapKey::Bool(v) => Value::Bool(*v),
        MapKey::I32(v) => Value::I32(*v),
        MapKey::I64(v) => Value::I64(*v),
        MapKey::U32(v) => Value::U32(*v),
        MapKey::U64(v) => Value::U64(*v),
        MapKey::String(v) => Value::String(v.clone()),
    }
}
