//! Collections: named lists that belong to a graph and are saved with it.

use super::Graph;
use super::node::{Operation, Output};
use crate::error::Result;
use bytes::Bytes;
use std::any::Any;
use std::sync::Arc;

/// An object in a collection that is written as a message when the graph is exported.
pub trait CollectionObject: Any + Send + Sync {
    /// The serialized message, as the graph stands now.
    ///
    /// # Errors
    /// `InvalidArgument` when it refers to nodes that are not there.
    fn to_bytes(&self, graph: &Graph) -> Result<Bytes>;
}

/// One entry of a collection.
#[derive(Clone)]
pub enum CollectionItem {
    /// A symbolic tensor, written by name.
    Tensor(Output),
    /// An operation, written by name.
    Operation(Operation),
    /// A name of a node or tensor that was imported.
    Node(String),
    /// Bytes: a string or a serialized message.
    Bytes(Bytes),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f32),
    /// Any message, with its type URL.
    Any(prost_types::Any),
    /// An object that writes itself at export.
    Object(Arc<dyn CollectionObject>),
}

impl std::fmt::Debug for CollectionItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            CollectionItem::Tensor(t) => write!(f, "{t:?}"),
            CollectionItem::Operation(o) => write!(f, "{o:?}"),
            CollectionItem::Node(n) => write!(f, "{n:?}"),
            CollectionItem::Bytes(b) => write!(f, "{b:?}"),
            CollectionItem::Int(i) => write!(f, "{i}"),
            CollectionItem::Float(v) => write!(f, "{v}"),
            CollectionItem::Any(a) => write!(f, "{}", a.type_url),
            CollectionItem::Object(_) => f.write_str("<object>"),
        }
    }
}

impl Graph {
    /// Appends an entry to a collection.
    pub fn add_to_collection(&self, name: &str, item: CollectionItem) {
        self.write().collections.entry(name.to_string()).or_default().push(item);
    }

    /// The entries of a collection, none where there is no such collection.
    pub fn get_collection(&self, name: &str) -> Vec<CollectionItem> {
        self.read().collections.get(name).cloned().unwrap_or_default()
    }

    /// The names of all collections, in order of their first entry.
    pub fn collection_names(&self) -> Vec<String> {
        self.read().collections.keys().cloned().collect()
    }

    /// Empties a collection.
    pub fn clear_collection(&self, name: &str) {
        self.write().collections.shift_remove(name);
    }
}
