//! The message NodeDef, written by hand since prost has no maps that share their entries.

use super::attrs::LONGEST_KNOWN;
use super::{AttrValue, Attrs, FullTypeDef};
use bytes::{Buf, BufMut};
use node_def::ExperimentalDebugInfo;
use prost::encoding::{self, DecodeContext, WireType, message, skip_field, string};
use prost::{DecodeError, Message, Name};

/// A node of a graph.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeDef {
    /// The name, unique in the graph.
    pub name: String,
    /// The op's type.
    pub op: String,
    /// `node`, `node:output` or `^node`, those of control inputs last.
    pub input: Vec<String>,
    /// A device, or a part of one's name.
    pub device: String,
    /// The attributes.
    pub attr: Attrs,
    /// From which nodes this one was made.
    pub experimental_debug_info: Option<ExperimentalDebugInfo>,
    /// The full type of the outputs.
    pub experimental_type: Option<FullTypeDef>,
}

/// Messages within NodeDef.
pub mod node_def {
    /// From which nodes a node was made.
    #[derive(Clone, PartialEq, Eq, Hash, prost::Message)]
    pub struct ExperimentalDebugInfo {
        /// Their names.
        #[prost(string, repeated, tag = "1")]
        pub original_node_names: Vec<String>,
        /// The functions that they stood in.
        #[prost(string, repeated, tag = "2")]
        pub original_func_names: Vec<String>,
    }

    impl prost::Name for ExperimentalDebugInfo {
        const NAME: &'static str = "ExperimentalDebugInfo";
        const PACKAGE: &'static str = "tensorflow";

        fn full_name() -> String {
            "tensorflow.NodeDef.ExperimentalDebugInfo".into()
        }
    }
}

impl Name for NodeDef {
    const NAME: &'static str = "NodeDef";
    const PACKAGE: &'static str = "tensorflow";
}

const NAME: u32 = 1;
const OP: u32 = 2;
const INPUT: u32 = 3;
const DEVICE: u32 = 4;
const ATTR: u32 = 5;
const DEBUG_INFO: u32 = 6;
const FULL_TYPE: u32 = 7;
/// The fields of an entry of `attr`.
const KEY: u32 = 1;
const VALUE: u32 = 2;

impl Message for NodeDef {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        for (tag, text) in [(NAME, &self.name), (OP, &self.op)] {
            if !text.is_empty() {
                string::encode(tag, text, buf);
            }
        }
        string::encode_repeated(INPUT, &self.input, buf);
        if !self.device.is_empty() {
            string::encode(DEVICE, &self.device, buf);
        }
        for (name, value) in &self.attr {
            encoding::encode_key(ATTR, WireType::LengthDelimited, buf);
            encoding::encode_varint(entry_len(name, value) as u64, buf);
            if !name.is_empty() {
                string::encode(KEY, name, buf);
            }
            if value.value.is_some() {
                message::encode(VALUE, value, buf);
            }
        }
        if let Some(info) = &self.experimental_debug_info {
            message::encode(DEBUG_INFO, info, buf);
        }
        if let Some(full) = &self.experimental_type {
            message::encode(FULL_TYPE, full, buf);
        }
    }

    fn merge_field(&mut self, tag: u32, wire_type: WireType, buf: &mut impl Buf, ctx: DecodeContext) -> Result<(), DecodeError> {
        let (field, merged) = match tag {
            NAME => ("name", string::merge(wire_type, &mut self.name, buf, ctx)),
            OP => ("op", string::merge(wire_type, &mut self.op, buf, ctx)),
            INPUT => ("input", string::merge_repeated(wire_type, &mut self.input, buf, ctx)),
            DEVICE => ("device", string::merge(wire_type, &mut self.device, buf, ctx)),
            ATTR => ("attr", merge_entry(wire_type, &mut self.attr, buf, ctx)),
            DEBUG_INFO => {
                let info = self.experimental_debug_info.get_or_insert_default();
                ("experimental_debug_info", message::merge(wire_type, info, buf, ctx))
            }
            FULL_TYPE => {
                let full = self.experimental_type.get_or_insert_default();
                ("experimental_type", message::merge(wire_type, full, buf, ctx))
            }
            _ => return skip_field(wire_type, tag, buf, ctx),
        };
        merged.map_err(|mut error| {
            error.push("NodeDef", field);
            error
        })
    }

    fn encoded_len(&self) -> usize {
        let text = |tag: u32, text: &String| if text.is_empty() { 0 } else { string::encoded_len(tag, text) };
        let entry = |(name, value): (&String, &AttrValue)| {
            let len = entry_len(name, value);
            encoding::key_len(ATTR) + encoding::encoded_len_varint(len as u64) + len
        };
        text(NAME, &self.name)
            + text(OP, &self.op)
            + string::encoded_len_repeated(INPUT, &self.input)
            + text(DEVICE, &self.device)
            + self.attr.iter().map(entry).sum::<usize>()
            + self.experimental_debug_info.as_ref().map_or(0, |info| message::encoded_len(DEBUG_INFO, info))
            + self.experimental_type.as_ref().map_or(0, |full| message::encoded_len(FULL_TYPE, full))
    }

    fn clear(&mut self) {
        *self = NodeDef::default();
    }
}

fn entry_len(name: &String, value: &AttrValue) -> usize {
    let key = if name.is_empty() { 0 } else { string::encoded_len(KEY, name) };
    key + if value.value.is_none() { 0 } else { message::encoded_len(VALUE, value) }
}

/// Reads an entry of `attr`. One that is written as another was lately is not read again.
fn merge_entry(wire_type: WireType, attrs: &mut Attrs, buf: &mut impl Buf, ctx: DecodeContext) -> Result<(), DecodeError> {
    encoding::check_wire_type(WireType::LengthDelimited, wire_type)?;
    let chunk = buf.chunk();
    let mut rest = chunk;
    let known = match encoding::decode_varint(&mut rest) {
        Ok(len) if len <= LONGEST_KNOWN as u64 => rest.get(..len as usize),
        _ => None,
    };
    let mut entry = Entry::default();
    match known {
        Some(bytes) => {
            let end = chunk.len() - rest.len() + bytes.len();
            if !attrs.insert_known(bytes) {
                message::merge(wire_type, &mut entry, &mut &chunk[..end], ctx)?;
                attrs.insert_new(bytes, entry.key, entry.value);
            }
            buf.advance(end);
        }
        None => {
            message::merge(wire_type, &mut entry, buf, ctx)?;
            attrs.insert(entry.key, entry.value);
        }
    }
    Ok(())
}

#[derive(Clone, PartialEq, prost::Message)]
struct Entry {
    #[prost(string, tag = "1")]
    key: String,
    #[prost(message, required, tag = "2")]
    value: AttrValue,
}
