//! Elements that aren't plain bytes: resources and variants.

use super::DType;
use crate::error::{Result, bail};
use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// An object that lives in a session (a variable, table, queue, stack) and is passed by handle.
pub trait Resource: Any + Send + Sync {
    /// The kind of object, as an error would name it: `Variable`, `HashTable`.
    fn kind(&self) -> &'static str;
}

/// A handle to a resource, the element of a `resource` tensor.
#[derive(Clone)]
pub struct ResourceHandle {
    /// The container of the session in which the object lives.
    pub container: Arc<str>,
    /// The object's name there.
    pub name: Arc<str>,
    /// The object itself, or none for a handle whose object has not been found.
    pub object: Option<Arc<dyn Resource>>,
}

impl ResourceHandle {
    /// The object as `T`, if it is one.
    pub fn downcast<T: Resource>(&self) -> Option<Arc<T>> {
        let object: Arc<dyn Any + Send + Sync> = self.object.clone()?;
        object.downcast::<T>().ok()
    }
}

/// A value of any kind, the element of a `variant` tensor.
pub trait Variant: Any + Send + Sync + fmt::Debug {
    /// TensorFlow's type name: `tensorflow::TensorList`.
    fn type_name(&self) -> &'static str;

    /// What `ZerosLike` gives for the value.
    ///
    /// # Errors
    /// `InvalidArgument` for a kind of value that has no zeros.
    fn zeros_like(&self) -> Result<Arc<dyn Variant>> {
        bail!(InvalidArgument, "No unary variant unary_op function found for op ZEROS_LIKE and type {}", self.type_name())
    }

    /// The sum of this value and another one, as `AddN` computes it.
    ///
    /// # Errors
    /// `Unimplemented` for values of a kind that can't be added, `InvalidArgument` for two that don't fit.
    fn plus(&self, _other: &dyn Variant) -> Result<Arc<dyn Variant>> {
        bail!(Unimplemented, "values of type {} can't be added", self.type_name())
    }
}

/// One element of a `resource` or `variant` tensor.
#[derive(Clone, Default)]
pub enum Handle {
    /// A variant without a value.
    #[default]
    Empty,
    /// A resource.
    Resource(ResourceHandle),
    /// A variant.
    Variant(Arc<dyn Variant>),
}

impl Handle {
    /// The element type of a tensor with such elements.
    pub fn dtype(&self) -> DType {
        if matches!(self, Handle::Resource(_)) { DType::Resource } else { DType::Variant }
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Handle::Empty => f.write_str("<empty>"),
            Handle::Resource(r) => {
                write!(f, "<{} {:?}>", r.object.as_ref().map_or("resource", |o| o.kind()), r.name)
            }
            Handle::Variant(v) => write!(f, "<{v:?}>"),
        }
    }
}
