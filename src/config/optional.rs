//! Settings that may be empty.

/// A setting that may be empty. An empty variable is equivalent to an unset one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Optional<T>(pub(super) Option<T>);

/// The value of a setting, if any.
pub fn value<T: Clone>(setting: &Option<Optional<T>>) -> Option<T> {
    setting.as_ref().and_then(|optional| optional.0.clone())
}

/// The values of a list setting.
pub fn values<T: Clone>(setting: &[Optional<T>]) -> Vec<T> {
    setting.iter().filter_map(|optional| optional.0.clone()).collect()
}
