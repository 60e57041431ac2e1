//! Roles of callers.

use std::fmt;

/// A permission of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Start exports, upload their documents, and follow them.
    Export,
    /// List, read, download and link bundles.
    Read,
    /// Everything, including the server's own state.
    Admin,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Export, Self::Read, Self::Admin];

    /// Its name in settings, tokens and errors.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    /// The role with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// The roles of one caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Roles {
    export: bool,
    read: bool,
    admin: bool,
}

impl Roles {
    /// Every role.
    pub const ALL: Self = Self { export: true, read: true, admin: true };

    /// Whether the caller has this role. An admin has every role.
    pub fn has(self, role: Role) -> bool {
        self.admin
            || match role {
                Role::Export => self.export,
                Role::Read => self.read,
                Role::Admin => false,
            }
    }

    /// Whether the caller has at least one of these roles.
    pub fn has_one_of(self, roles: &[Role]) -> bool {
        roles.iter().any(|role| self.has(*role))
    }
}

impl fmt::Display for Roles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named =
            [(self.export, Role::Export), (self.read, Role::Read), (self.admin, Role::Admin)];
        let names: Vec<_> =
            named.iter().filter(|(has, _)| *has).map(|(_, role)| role.as_str()).collect();
        formatter.write_str(&names.join(", "))
    }
}

impl FromIterator<Role> for Roles {
    fn from_iter<I: IntoIterator<Item = Role>>(roles: I) -> Self {
        let mut all = Self::default();
        for role in roles {
            match role {
                Role::Export => all.export = true,
                Role::Read => all.read = true,
                Role::Admin => all.admin = true,
            }
        }
        all
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn role_grants_itself_and_admin_grants_all() {
        for role in [Role::Export, Role::Read] {
            let roles = Roles::from_iter([role]);
            for other in Role::ALL {
                assert_eq!(roles.has(other), role == other);
            }
        }
        assert!(Role::ALL.into_iter().all(|role| Roles::from_iter([Role::Admin]).has(role)));
        assert!(!Role::ALL.into_iter().any(|role| Roles::default().has(role)));
        assert!(!Roles::default().has_one_of(&[]));
    }

    #[test]
    fn names_round_trip() {
        assert_eq!(Roles::from_iter([Role::Read, Role::Export]).to_string(), "export, read");
        assert_eq!(Roles::default().to_string(), "");
        for role in Role::ALL {
            assert_eq!(Role::parse(role.as_str()), Some(role));
        }
        assert_eq!(Role::parse("Admin"), None);
    }
}
