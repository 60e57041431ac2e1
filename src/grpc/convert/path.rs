//! The path of a value in a request. Formatted only for an invalid value, so that a valid request allocates no text
//! for its items.

use std::fmt;

/// A field's path, as in the proto. Each step refers to its parent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    step: Step<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Name(&'a str),
    Index(usize),
}

impl<'a> Path<'a> {
    /// A field of the request.
    pub(super) fn root(name: &'a str) -> Self {
        Self { parent: None, step: Step::Name(name) }
    }

    /// A field of this message, or a key of this object.
    pub(super) fn name(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Name(name) }
    }

    /// An element of this list.
    pub(super) fn index(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Index(index) }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            parent.fmt(formatter)?;
        }
        match self.step {
            Step::Name(name) if self.parent.is_some() => write!(formatter, ".{name}"),
            Step::Name(name) => formatter.write_str(name),
            Step::Index(index) => write!(formatter, "[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_formatted_as_in_the_proto() {
        let review = Path::root("review");
        let (list, free) = (review.name("suggestions"), "a.b");
        let item = list.index(3);
        let free = item.name(free);
        assert_eq!(free.index(0).to_string(), "review.suggestions[3].a.b[0]");
    }
}
