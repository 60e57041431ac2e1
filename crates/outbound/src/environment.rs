//! Environment variables. An empty variable is equivalent to an unset one.

use std::collections::BTreeMap;

/// The variables that are set and not empty.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

// Names only: values can be secrets.
impl std::fmt::Debug for Environment {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_set().entries(self.0.keys()).finish()
    }
}

impl Environment {
    /// The variables of this process. Leaves out variables that are not UTF-8.
    pub fn of_process() -> Self {
        let text = |text: std::ffi::OsString| text.into_string().ok();
        std::env::vars_os().filter_map(|(name, value)| Some((text(name)?, text(value)?))).collect()
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All variables, sorted by name.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The same variables, where `name` has the value of the first of `others` that is set, unless it is set itself.
    #[must_use]
    pub fn with_alternatives(mut self, name: &str, others: &[&str]) -> Self {
        if self.get(name).is_none()
            && let Some(value) = others.iter().find_map(|other| self.get(other))
        {
            let value = value.to_owned();
            self.0.insert(name.to_owned(), value);
        }
        self
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(variables: I) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into()));
        Self(variables.filter(|(_, value): &(_, String)| !value.trim().is_empty()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_variable_is_unset() {
        let environment: Environment = [("A", ""), ("B", "  "), ("C", "c")].into_iter().collect();
        assert_eq!((environment.get("A"), environment.get("B")), (None, None));
        assert_eq!(environment.get("C"), Some("c"));
        let environment = environment.with_alternatives("A", &["B", "C"]);
        assert_eq!(environment.get("A"), Some("c"));
        assert_eq!(environment.with_alternatives("C", &["A"]).get("C"), Some("c"));
    }
}
