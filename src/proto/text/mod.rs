//! Protocol buffers' text format for every message of this module (`.pbtxt`): reading what TensorFlow and people write,
//! and writing it as TensorFlow does.
//!
//! ```
//! use metagraph::proto::{NodeDef, text};
//! let node: NodeDef = text::parse("name: \"x\" op: 'Placeholder' attr { key: 'dtype' value { type: DT_FLOAT } }")?;
//! assert_eq!(text::print(&node), r#"name: "x"
//! op: "Placeholder"
//! attr {
//!   key: "dtype"
//!   value {
//!     type: DT_FLOAT
//!   }
//! }
//! "#);
//! # Ok::<(), metagraph::Error>(())
//! ```

mod lexer;
mod number;
mod parse;
mod print;

pub(crate) use number::{format_double, quote};
pub use parse::ParseOptions;
pub use print::Style;

use crate::error::{Error, Result};
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use std::sync::OnceLock;

/// The descriptors of all messages.
fn pool() -> &'static DescriptorPool {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    POOL.get_or_init(|| DescriptorPool::decode(super::FILE_DESCRIPTOR_SET).expect("the compiled descriptors are valid"))
}

fn descriptor(name: &str) -> Result<MessageDescriptor> {
    pool().get_message_by_name(name).ok_or_else(|| Error::not_found(format!("there is no message '{name}'")))
}

/// Reads a message in text form. A field that the message doesn't have, or a second value of a field that has one, is an
/// error.
///
/// # Errors
/// `InvalidArgument` with line and column where the text isn't in the format or doesn't fit the message.
pub fn parse<M: Message + Name + Default>(text: &str) -> Result<M> {
    parse_with(text, ParseOptions::default())
}

/// Reads a message in text form, as strictly as the options say.
///
/// # Errors
/// As [`parse()`].
pub fn parse_with<M: Message + Name + Default>(text: &str, options: ParseOptions) -> Result<M> {
    let bytes = parse::message(text, descriptor(&M::full_name())?, options)?.encode_to_vec();
    M::decode(bytes.as_slice()).map_err(|e| Error::invalid_argument(format!("the {} can't be read: {e}", M::NAME)))
}

/// Reads a message from a file's bytes, in text form if they are text that fits the message, and in binary form otherwise.
///
/// # Errors
/// `DataLoss` where they are neither; it says how the text form fails if the bytes are text.
pub fn decode_either<M: Message + Name + Default>(bytes: bytes::Bytes) -> Result<M> {
    let is_text = |text: &&str| !text.contains(|c: char| c.is_control() && !c.is_ascii_whitespace());
    let text = std::str::from_utf8(&bytes).ok().filter(is_text).map(parse::<M>);
    if let Some(Ok(message)) = text {
        return Ok(message);
    }
    match (M::decode(bytes.clone()), text) {
        (Ok(message), _) => Ok(message),
        (Err(binary), Some(Err(e))) => {
            Err(Error::data_loss(format!("no {} in binary form ({binary}) or text form ({e})", M::NAME)))
        }
        (Err(binary), _) => Err(Error::data_loss(format!("no {}: {binary}", M::NAME))),
    }
}

/// The text form of a message, as `text_format.MessageToString` gives it.
pub fn print<M: Message + Name>(message: &M) -> String {
    print_as(message, Style::MessageToString)
}

/// The text form of a message in one of the styles that TensorFlow's files have.
pub fn print_as<M: Message + Name>(message: &M, style: Style) -> String {
    let dynamic = descriptor(&M::full_name()).and_then(|descriptor| {
        DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).map_err(|e| Error::internal(e.to_string()))
    });
    dynamic.map_or_else(|e| format!("# {e}\n"), |message| print::message(&message, style))
}

#[cfg(test)]
mod tests;
