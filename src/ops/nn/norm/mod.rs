//! Normalization over a batch and over neighbouring channels.

mod fused;
mod global;
mod local;

pub(in crate::ops) use fused::OPS as FUSED_OPS;
pub(in crate::ops) use global::OPS as GLOBAL_OPS;
pub(in crate::ops) use local::OPS as LOCAL_OPS;
