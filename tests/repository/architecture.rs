//! Dependencies point down (docs/architecture.md): checks the dependencies of crates, and the paths that the
//! modules of `src/` name.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use syn::visit::{self, Visit};

/// The modules of `src/` from top to bottom, each with the modules that it may name.
const MODULES: [(&str, &[&str]); 17] = [
    (
        "server",
        &[
            "batch",
            "config",
            "data_dir",
            "export",
            "grpc",
            "health",
            "host",
            "jobs",
            "notifications",
            "proto",
            "telemetry",
            "tls",
            "transfer",
            "upload",
        ],
    ),
    ("cli", &["adopt"]),
    ("grpc", &["batch", "export", "health", "host", "jobs", "notifications", "proto", "upload"]),
    // What jobs do is done by the modules that they use.
    ("jobs", &["batch", "export", "notifications"]),
    // Records what becomes of many exports of the engine.
    ("batch", &["export", "upload"]),
    // Sends the events that the engine writes, and does not know the engine.
    ("notifications", &[]),
    ("export", &["health", "transfer", "upload"]),
    // Adoption of existing bundles does not use the engine.
    ("adopt", &[]),
    ("upload", &["transfer"]),
    ("transfer", &[]),
    ("health", &[]),
    // Exporters read settings. Modules record metrics through a separate crate, so they do not read settings.
    ("telemetry", &["config"]),
    // Settings use types of the crates below, such as the store's encryption.
    ("config", &["host"]),
    ("data_dir", &[]),
    ("host", &[]),
    ("tls", &[]),
    ("proto", &[]),
];

/// Prefixes of crate names that a module and the modules it reaches must not name.
const FORBIDDEN_IN_MODULE: [(&str, &[&str]); 13] = [
    ("batch", &["tonic", "prost", "aws_", "axum", "clap"]),
    ("export", &["tonic", "prost", "aws_", "axum", "clap"]),
    ("upload", &["tonic", "prost", "aws_", "axum", "clap"]),
    ("transfer", &["tonic", "prost", "aws_", "axum", "clap"]),
    ("adopt", &["tonic", "prost", "aws_", "axum", "clap"]),
    ("jobs", &["tonic", "prost", "aws_", "axum", "clap", "hyper"]),
    ("notifications", &["tonic", "prost", "aws_", "axum", "clap", "lettre", "hyper"]),
    ("health", &["tonic", "prost", "aws_", "axum", "clap", "tara_export_store"]),
    ("grpc", &["aws_", "clap"]),
    ("config", &["tonic", "prost", "aws_", "axum"]),
    ("data_dir", &["tonic", "prost", "aws_", "axum", "clap"]),
    ("tls", &["tonic", "prost", "aws_", "axum", "clap"]),
    // The commands use the client, and `adopt` works without a server.
    ("cli", &["aws_", "tara_export_auth", "axum"]),
];

/// Prefixes of crate names that a crate must not depend on, directly or transitively.
const FORBIDDEN_IN_CRATE: [(&str, &[&str]); 16] = [
    // Pure: turns a review into bytes.
    ("tara-export-bundle", &["tokio", "tracing", "metrics", "tonic", "prost", "aws-", "rustix"]),
    ("tara-export-digest", &["tokio", "tracing", "tonic", "prost", "aws-", "rustix", "chrono"]),
    ("tara-export-disk", &["tokio", "tonic", "prost", "aws-", "chrono", "serde_json"]),
    (
        "tara-export-state-file",
        &["tokio", "tonic", "prost", "aws-", "clap", "chrono", "tara-export-bundle"],
    ),
    ("tara-export-settings-file", &["tokio", "tonic", "prost", "aws-", "clap", "chrono"]),
    (
        "tara-export-jobs",
        &["tokio", "tonic", "prost", "aws-", "clap", "tara-export-store", "tara-export-bundle"],
    ),
    ("tara-export-limits", &["tonic", "prost", "aws-", "clap", "tara-export-bundle"]),
    ("tara-export-outbound", &["tonic", "prost", "aws-sdk", "aws-config", "clap", "tara-export-"]),
    ("tara-export-telemetry", &["tonic", "prost", "aws-", "clap", "tara-export-"]),
    ("tara-export-clock", &["tokio", "tonic", "prost", "aws-", "clap"]),
    // Knows objects, not reviews.
    (
        "tara-export-store",
        &["tonic", "prost", "clap", "tara-export-bundle", "tara-export-telemetry"],
    ),
    ("tara-export-catalog", &["tonic", "prost", "clap", "tara-export-telemetry"]),
    // Knows events, not targets.
    (
        "tara-export-events",
        &["tonic", "prost", "clap", "minijinja", "lettre", "tara-export-notify"],
    ),
    // Sends events; the engine decides when.
    ("tara-export-notify", &["tonic", "prost", "clap", "tara-export-telemetry"]),
    // Knows callers, not calls.
    (
        "tara-export-auth",
        &["tonic", "prost", "aws-sdk", "clap", "tara-export-bundle", "tara-export-store"],
    ),
    // The client. Its cryptography, aws-lc, is not part of the AWS SDK.
    (
        "tara-export-client",
        &["aws-sdk", "aws-config", "clap", "tonic-health", "tonic-reflection", "tara-export-store"],
    ),
];

/// Paths that pure code must not name, because it depends only on its input.
const FORBIDDEN_IN_PURE_CODE: [&str; 9] = [
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
    "Utc::now",
    "Uuid::new_v4",
];

/// The modules and crates that the code of a module names.
#[derive(Default)]
struct Named {
    modules: BTreeSet<String>,
    crates: BTreeSet<String>,
}

/// Every path in a file, except in tests.
#[derive(Default)]
struct Paths(Vec<Vec<String>>);

impl Paths {
    fn of(file: &Path) -> Self {
        let code = fs::read_to_string(file).unwrap();
        let parsed = syn::parse_file(&code).expect("a source file is Rust");
        let mut paths = Self::default();
        paths.visit_file(&parsed);
        paths
    }

    fn add_tree(&mut self, tree: &syn::UseTree, prefix: &[String]) {
        let with = |name: &syn::Ident| [prefix, &[name.to_string()]].concat();
        match tree {
            syn::UseTree::Path(path) => self.add_tree(&path.tree, &with(&path.ident)),
            syn::UseTree::Name(name) => self.0.push(with(&name.ident)),
            syn::UseTree::Rename(rename) => self.0.push(with(&rename.ident)),
            syn::UseTree::Glob(_) => self.0.push(prefix.to_vec()),
            syn::UseTree::Group(group) => {
                group.items.iter().for_each(|item| self.add_tree(item, prefix));
            }
        }
    }
}

fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.meta.require_list().is_ok_and(|list| {
                let condition = list.tokens.to_string();
                condition == "test" || condition.contains("\"testing\"")
            })
    })
}

impl<'ast> Visit<'ast> for Paths {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let attributes = match item {
            syn::Item::Mod(item) => &item.attrs,
            syn::Item::Fn(item) => &item.attrs,
            syn::Item::Impl(item) => &item.attrs,
            syn::Item::Use(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.add_tree(&item.tree, &[]);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.0.push(path.segments.iter().map(|segment| segment.ident.to_string()).collect());
        visit::visit_path(self, path);
    }

    /// The arguments of macros such as `tracing::info!` are tokens. Words with `::` are read as paths.
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        let tokens = call.tokens.to_string().replace(" :: ", "::");
        for word in tokens
            .split(|character: char| !(character.is_alphanumeric() || "_:".contains(character)))
        {
            if word.contains("::") {
                self.0.push(word.split("::").map(str::to_owned).collect());
            }
        }
        visit::visit_macro(self, call);
    }
}

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The source files of a module or crate, without test files.
fn rust_files(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let Ok(entries) = fs::read_dir(path) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            !name.ends_with("tests") && name != "testing"
        })
        .flat_map(|path| rust_files(&path))
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .collect();
    files.sort();
    files
}

fn module_files(module: &str) -> Vec<PathBuf> {
    let src = project().join("src");
    [src.join(module), src.join(format!("{module}.rs"))]
        .iter()
        .flat_map(|path| rust_files(path))
        .collect()
}

fn named_by(module: &str) -> Named {
    let files = module_files(module);
    assert!(!files.is_empty(), "the module {module} does not exist: update MODULES");
    let mut named = Named::default();
    for path in files.iter().flat_map(|file| Paths::of(file).0) {
        match path.as_slice() {
            [first, second, ..] if first == "crate" => {
                named.modules.insert(second.clone());
            }
            [first, ..] => {
                named.crates.insert(first.clone());
            }
            [] => {}
        }
    }
    named.modules.remove(module);
    named
}

#[test]
fn every_module_is_listed() {
    let known: BTreeSet<&str> = MODULES.iter().map(|(module, _)| *module).collect();
    let entries = fs::read_dir(project().join("src")).unwrap();
    for path in entries.map(|entry| entry.unwrap().path()) {
        let module = path.file_stem().unwrap().to_string_lossy().into_owned();
        let is_module = !["main", "lib"].contains(&module.as_str());
        assert!(!is_module || known.contains(module.as_str()), "MODULES does not list {module}");
    }
    // The order from top to bottom excludes cycles.
    for (number, (module, may_name)) in MODULES.iter().enumerate() {
        for below in *may_name {
            let position = MODULES.iter().position(|(other, _)| other == below).unwrap();
            assert!(position > number, "{module} is listed below {below}");
        }
    }
}

#[test]
fn modules_name_only_modules_below() {
    let mut violations = Vec::new();
    for (module, may_name) in MODULES {
        let named = named_by(module).modules;
        let known = named.iter().filter(|name| MODULES.iter().any(|(other, _)| other == name));
        violations.extend(
            known
                .filter(|name| !may_name.contains(&name.as_str()))
                .map(|name| format!("{module} names {name}")),
        );
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn modules_do_not_reach_forbidden_crates() {
    let named: BTreeMap<&str, Named> =
        MODULES.iter().map(|(module, _)| (*module, named_by(module))).collect();
    let mut violations = Vec::new();
    for (module, forbidden) in FORBIDDEN_IN_MODULE {
        let mut reached = BTreeSet::from([module]);
        let mut next = vec![module];
        while let Some(module) = next.pop() {
            let (_, below) = MODULES.iter().find(|(other, _)| *other == module).unwrap();
            next.extend(below.iter().filter(|below| reached.insert(below)));
        }
        for via in reached {
            for name in named[via].crates.iter().filter(|name| {
                // The cryptography of rustls.
                *name != "aws_lc_rs" && forbidden.iter().any(|start| name.starts_with(start))
            }) {
                violations.push(format!("{module} reaches {name} through {via}"));
            }
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn pure_crates_depend_on_their_input_alone() {
    for name in ["bundle", "digest"] {
        for file in rust_files(&project().join("crates").join(name).join("src")) {
            for path in Paths::of(&file).0 {
                let path = path.join("::");
                let violation =
                    FORBIDDEN_IN_PURE_CODE.iter().find(|violation| path.contains(**violation));
                assert_eq!(violation, None, "{}: {path}", file.display());
            }
        }
    }
}

#[test]
fn crates_do_not_depend_on_forbidden_crates() {
    let cargo = env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--locked", "--offline", "--filter-platform"])
        .arg("x86_64-unknown-linux-gnu")
        .current_dir(project())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let names: BTreeMap<&str, &str> = packages
        .iter()
        .map(|package| (package["id"].as_str().unwrap(), package["name"].as_str().unwrap()))
        .collect();
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    // Normal dependencies, without those of tests and build scripts.
    let depends: BTreeMap<&str, Vec<&str>> = nodes
        .iter()
        .map(|node| {
            let normal = node["deps"].as_array().unwrap().iter().filter(|dependency| {
                let kinds = dependency["dep_kinds"].as_array().unwrap();
                kinds.iter().any(|kind| kind["kind"].is_null())
            });
            let ids = normal.map(|dependency| dependency["pkg"].as_str().unwrap()).collect();
            (node["id"].as_str().unwrap(), ids)
        })
        .collect();
    let mut violations = Vec::new();
    for (name, forbidden) in FORBIDDEN_IN_CRATE {
        let (id, _) = names.iter().find(|(_, other)| **other == name).expect(name);
        let mut reached = BTreeSet::from([*id]);
        let mut next = vec![*id];
        while let Some(id) = next.pop() {
            next.extend(depends[id].iter().filter(|id| reached.insert(id)));
        }
        let reached = reached.iter().map(|id| names[id]).filter(|other| *other != name);
        for other in reached {
            let is_cryptography = other.starts_with("aws-lc");
            if !is_cryptography && forbidden.iter().any(|start| other.starts_with(start)) {
                violations.push(format!("{name} depends on {other}"));
            }
        }
    }
    assert!(violations.is_empty(), "{}", violations.join("\n"));
}

#[test]
fn scan_finds_paths_and_skips_tests() {
    let code = "use crate::{a::B, c::{self, D}};\n#[cfg(test)]\nmod tests { use crate::hidden::X; }\n\
                fn f() { crate::e::g(); tracing::info!(x = aws_sdk::h(), \"\"); }";
    let mut paths = Paths::default();
    paths.visit_file(&syn::parse_file(code).unwrap());
    let seen: BTreeSet<String> = paths.0.iter().map(|path| path.join("::")).collect();
    for path in ["crate::a::B", "crate::c::self", "crate::c::D", "crate::e::g", "aws_sdk::h"] {
        assert!(seen.contains(path), "{path}: {seen:?}");
    }
    assert!(!seen.iter().any(|path| path.contains("hidden")), "{seen:?}");
}
