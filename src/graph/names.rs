//! Names: validity, uniqueness and scopes, by TensorFlow's rules.

use super::{Graph, Inner};
use crate::error::{Result, bail};
use foldhash::HashMap;
use std::sync::Arc;

fn is_name_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '\\' | '/' | '>' | '-')
}

/// True for a name that an op may have: `[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*`.
pub fn is_valid_op_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '.') && name.chars().all(is_name_char)
}

/// True for a name that a scope may have: as an op's, but within another scope it may begin with any of its characters.
pub fn is_valid_scope_name(name: &str) -> bool {
    name.chars().all(is_name_char)
}

impl Inner {
    /// The names that are taken, with the number that was tried last.
    fn names_in_use(&mut self) -> &mut HashMap<String, u32> {
        while let Some((name, _)) = self.nodes.get_index(self.names_known) {
            self.names_known += 1;
            self.names_in_use.entry(name.to_lowercase()).or_insert(1);
            // A scope that an imported node stands in is in use as well.
            let mut rest: &str = name;
            while let Some((scope, _)) = rest.rsplit_once('/') {
                let key = scope.to_lowercase();
                if self.names_in_use.contains_key(&key) {
                    break;
                }
                self.names_in_use.insert(key, 1);
                rest = scope;
            }
        }
        &mut self.names_in_use
    }

    /// Notes the name of the node that was added last.
    pub(super) fn note_name(&mut self, name: &str) {
        self.names_in_use().entry(name.to_lowercase()).or_insert(1);
        self.names_known += 1;
    }

    /// A name that nothing has yet, within the current scope; marks it as used.
    pub(crate) fn unique_name(&mut self, name: &str) -> String {
        let full = if self.name_stack.is_empty() { name.to_string() } else { format!("{}/{name}", self.name_stack) };
        let key = full.to_lowercase();
        let names = self.names_in_use();
        let used = names.entry(key.clone()).or_insert(0);
        let mut i = *used;
        *used += 1;
        if i == 0 {
            return full;
        }
        loop {
            let candidate = format!("{key}_{i}");
            i += 1;
            if let std::collections::hash_map::Entry::Vacant(entry) = names.entry(candidate) {
                entry.insert(1);
                return format!("{full}_{}", i - 1);
            }
        }
    }
}

/// Closes the scope when dropped. Holds the scope's name with its closing slash.
pub struct NameScope {
    graph: Graph,
    previous: String,
    name: String,
}

impl NameScope {
    /// The scope's full name with a slash at its end, empty for the root: what an op or scope takes to get exactly
    /// this name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for NameScope {
    fn drop(&mut self) {
        self.graph.write().name_stack = std::mem::take(&mut self.previous);
    }
}

impl Graph {
    /// Opens a name scope, until the guard is dropped. A name that ends in a slash opens that scope again; an empty
    /// one goes back to the root.
    ///
    /// ```
    /// # use metagraph::Graph;
    /// let g = Graph::new();
    /// let scope = g.name_scope("layer")?;
    /// assert_eq!(scope.name(), "layer/");
    /// let c = g.constant(1f32)?;
    /// assert_eq!(g.tensor_name(c), "layer/Const:0");
    /// # Ok::<(), metagraph::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidArgument` for a name with characters that a scope's may not have.
    pub fn name_scope(&self, name: &str) -> Result<NameScope> {
        let mut inner = self.write();
        let at_root = inner.name_stack.is_empty();
        if !name.is_empty() && !(if at_root { is_valid_op_name(name) } else { is_valid_scope_name(name) }) {
            bail!(InvalidArgument, "'{name}' is not a valid {}scope name", if at_root { "root " } else { "" });
        }
        let stack = match name.strip_suffix('/') {
            Some(exact) => exact.to_string(),
            None if name.is_empty() => String::new(),
            None => inner.unique_name(name),
        };
        let previous = std::mem::replace(&mut inner.name_stack, stack.clone());
        drop(inner);
        let name = if stack.is_empty() { stack } else { format!("{stack}/") };
        Ok(NameScope { graph: self.plain(), previous, name })
    }

    /// The name of the current scope, without a closing slash.
    pub fn current_name_scope(&self) -> String {
        self.read().name_stack.clone()
    }

    /// A name that nothing has yet, within the current scope; marks it as used.
    pub fn unique_name(&self, name: &str) -> String {
        self.write().unique_name(name)
    }

    /// The name that [`Graph::unique_name`] would give, which stays free.
    pub(crate) fn free_name(&self, name: &str) -> String {
        let mut inner = self.write();
        let full = if inner.name_stack.is_empty() { name.to_string() } else { format!("{}/{name}", inner.name_stack) };
        let names = inner.names_in_use();
        let taken = |name: &str| names.contains_key(&name.to_lowercase());
        let numbered = (1..).map(|i| format!("{full}_{i}"));
        std::iter::once(full.clone()).chain(numbered).find(|n| !taken(n)).unwrap_or_default()
    }

    /// The same graph, with a name for the next op or function that is called on the handle.
    ///
    /// ```
    /// # use metagraph::Graph;
    /// let g = Graph::new();
    /// let c = g.named("answer").constant(42i32)?;
    /// assert_eq!(g.tensor_name(c), "answer:0");
    /// # Ok::<(), metagraph::Error>(())
    /// ```
    #[must_use]
    pub fn named(&self, name: &str) -> Graph {
        Graph { inner: self.inner.clone(), pending_name: Some(Arc::from(name)) }
    }

    /// The same graph without a pending name.
    pub(crate) fn plain(&self) -> Graph {
        Graph { inner: self.inner.clone(), pending_name: None }
    }

    /// The name given by [`Graph::named`], or the default.
    pub(crate) fn name_or<'a>(&'a self, default: &'a str) -> &'a str {
        self.pending_name.as_deref().unwrap_or(default)
    }

    /// The name given by [`Graph::named`], if one was.
    pub(crate) fn pending_name(&self) -> Option<&str> {
        self.pending_name.as_deref()
    }

    /// Opens the scope of a function that emits several nodes: its given name or the default. The handle that is
    /// returned has no pending name.
    pub(crate) fn enter(&self, default: &str) -> Result<(Graph, NameScope)> {
        Ok((self.plain(), self.name_scope(self.name_or(default))?))
    }
}

/// Levenshtein's distance: how many elements have to be changed, put in or left out.
pub(crate) fn edit_distance<T: PartialEq>(a: &[T], b: &[T]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = changed.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
