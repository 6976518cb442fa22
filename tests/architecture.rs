//! The layer rules of `src/lib.rs` and `ARCHITECTURE.md`, held against the source text: which module may use which, who
//! may name what, and how long a file may be.

use std::fs;
use std::path::{Path, PathBuf};

/// The layers, highest first. A module may use those on lower lines, never its siblings on its own.
const LAYERS: &[&[&str]] = &[
    &["cli"],
    &["http"],
    &["s3", "kms::api", "audit::api", "iam::api", "admin"],
    &["jobs"],
    &["events"],
    &["sse"],
    &["iam"],
    &["kms"],
    &["store", "sigv4", "policy", "audit"],
    &["config", "telemetry", "wire"],
    &["crypto", "clock"],
];

/// What only some modules may name: the name, and the paths (below `src/`) that may.
const RESERVED: &[(&str, &[&str])] = &[
    ("aws_lc_rs", &["crypto/"]),
    ("aws_lc_sys", &["crypto/pair/ffi.rs"]),
    ("aws_sdk_kms", &["kms/aws/"]),
    ("aws_config", &["kms/aws/"]),
    ("rocksdb", &["store/rocks/"]),
    ("rcgen", &["cli/audit.rs", "cli/authority.rs", "http/tests.rs", "http/tls/tests.rs"]),
    ("rustls", &["http/", "cli/audit.rs", "cli/authority.rs", "events/target/kafka.rs"]),
    ("axum", &["http/"]),
    ("hyper", &["http/"]),
    ("tikv_jemallocator", &["main.rs"]),
    ("StatusCode", &["http/", "s3/", "kms/api/", "audit/api.rs", "iam/api/", "admin/", "wire/"]),
    ("HeaderMap", &["http/", "s3/", "kms/api/", "audit/api.rs", "wire/", "sigv4/", "sse/headers.rs", "sse/headers/"]),
];

/// What decides who may do what, or says that nothing need decide, beside `iam::authorize` by which all operations go; the
/// files (below `src/`) that may name it, and why. Who adds a caller says so here.
const DECIDING: &[(&str, &[(&str, &str)])] = &[
    ("policy::decide", &[("iam/service.rs", "AWS's own services have no subject with policies")]),
    (
        "judge_beside",
        &[
            ("policy/subject.rs", "its own"),
            ("iam/mod.rs", "the one authorisation function"),
            ("kms/local/policy.rs", "what boundaries and session policies leave of a grant to a role"),
            ("admin/explain.rs", "tells what would be decided; nothing comes of it"),
        ],
    ),
    (
        "judge_ask",
        &[
            ("policy/subject.rs", "its own"),
            ("kms/local/policy.rs", "a key's policy must allow, and grants may"),
            ("iam/api/sts/assume.rs", "a role's trust policy must allow"),
            ("iam/api/handlers/simulate.rs", "tells what would be decided; nothing comes of it"),
            ("iam/store/tests.rs", "tests"),
        ],
    ),
    (
        "left_to_the_key_service",
        &[("iam/mod.rs", "its own"), ("kms/api/mod.rs", "the key service judges each use of a key by the key")],
    ),
    (
        "of_anybody",
        &[
            ("iam/mod.rs", "its own"),
            ("iam/api/authority.rs", "STS: what everybody may, and what a trust policy decides"),
        ],
    ),
];

/// The longest file allowed, in lines.
const LONGEST: usize = 900;

struct Source {
    /// Below `src/`, with `/` between its parts.
    path: String,
    text: String,
}

#[test]
fn the_source_keeps_to_its_layers() {
    let sources = sources();
    assert!(sources.len() > 30, "the source was not found");
    let broken: Vec<String> = sources.iter().flat_map(violations).collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    let root = fs::read_to_string(source_directory().join("lib.rs")).unwrap();
    let root = code(&root);
    let modules = root.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    let mut found: Vec<&str> = modules.collect();
    found.sort_unstable();
    let mut known: Vec<&str> = LAYERS.concat().into_iter().filter(|module| !module.contains("::")).collect();
    known.sort_unstable();
    assert_eq!(found, known);
}

#[test]
fn the_documents_show_the_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = fs::read_to_string(source_directory().join("lib.rs")).unwrap();
    assert_eq!(layers_shown(&map.replace("//! ", "")), LAYERS, "in src/lib.rs");
    let page = fs::read_to_string(root.join("ARCHITECTURE.md")).unwrap();
    let section = page.split("\n## ").find_map(|section| section.strip_prefix("Layers\n")).unwrap();
    assert_eq!(layers_shown(section), LAYERS, "in ARCHITECTURE.md");
}

/// The modules in the second column of a table, by its rows.
fn layers_shown(text: &str) -> Vec<Vec<&str>> {
    let rows = text.lines().filter(|line| line.starts_with("| ")).filter_map(|line| line.split('|').nth(2));
    rows.map(|column| column.split('`').skip(1).step_by(2).collect()).filter(|row: &Vec<_>| !row.is_empty()).collect()
}

#[test]
fn what_is_reserved_is_reserved_to_what_exists() {
    let sources = sources();
    for (name, allowed) in RESERVED {
        for place in *allowed {
            let exists = sources.iter().any(|source| source.path.starts_with(place));
            assert!(exists, "{name} is reserved to src/{place}, which does not exist");
        }
    }
}

/// The checker itself: each kind of violation, and what looks like one and is none.
#[test]
fn violations_are_found() {
    let check = |path: &str, text: &str| violations(&Source { path: path.to_owned(), text: text.to_owned() });
    let broken = [
        ("store/mod.rs", "use crate::kms::Kms;"),
        ("store/mod.rs", "fn f() { crate::s3::g() }"),
        ("store/mod.rs", "use crate::{clock::Clock, sse::Sse};"),
        ("store/mod.rs", "use crate::{\n    clock::Clock,\n    kms::{Kms, arn::KeyArn},\n};"),
        ("sigv4/mod.rs", "use crate::store::Store;"),
        ("s3/put.rs", "use crate::kms::api::KmsApi;"),
        ("kms/local/mod.rs", "use crate::kms::api::Target;"),
        ("kms/local/mod.rs", "use super::super::api::Target;"),
        ("kms/error.rs", "use super::api::Target;"),
        ("kms/arn.rs", "use super::super::s3::Put;"),
        ("kms/local/mod.rs", "use crate::iam::Identity;"),
        ("config/mod.rs", "use crate::telemetry::log::Format;"),
        ("crypto/mod.rs", "use crate::wire::RequestId;"),
        ("sse/seal.rs", "use aws_lc_rs::aead;"),
        ("sse/seal.rs", "fn f() -> ::aws_lc_rs::aead::Tag { todo!() }"),
        ("store/memory.rs", "use rocksdb::DB;"),
        ("sse/plan.rs", "use http::HeaderMap;"),
        ("kms/local/mod.rs", "fn f() -> http::StatusCode { http::StatusCode::OK }"),
        ("main.rs", "use strongroom::store::Store;"),
        ("s3/put.rs", "fn f() { subject.judge_ask(&ask); }"),
        ("s3/put.rs", "use crate::policy::{Policies, decide};"),
        ("s3/put.rs", "fn f() -> Permit { Permit::left_to_the_key_service() }"),
    ];
    for (path, text) in broken {
        assert!(!check(path, text).is_empty(), "not found in {path}: {text}");
    }
    assert!(!check("s3/put.rs", &"\n".repeat(LONGEST + 1)).is_empty());
    let sound = [
        ("store/mod.rs", "use crate::clock::Clock;\nuse crate::crypto::Secret;"),
        ("store/rocks/mod.rs", "use rocksdb::DB;\nuse crate::store::Store;"),
        ("sse/mod.rs", "// use crate::s3::Put;\n//! [`crate::s3`] does\nuse crate::{clock, kms::Kms};"),
        ("sse/mod.rs", "const TEXT: &str = \"use crate::s3::Put\";"),
        ("sse/headers.rs", "use http::HeaderMap;"),
        ("kms/api/mod.rs", "use crate::kms::Kms;\nuse crate::iam::Identity;\nuse http::StatusCode;"),
        ("http/tls.rs", "use rustls::crypto::aws_lc_rs;"),
        ("clock.rs", "mod tests { use super::*; }"),
        ("store/memory.rs", "mod tests { use super::super::conformance; }"),
        ("kms/api/create.rs", "use super::super::error::KmsError;\nuse super::json;"),
        ("main.rs", "fn main() { strongroom::cli::main() }"),
    ];
    for (path, text) in sound {
        assert_eq!(check(path, text), Vec::<String>::new(), "in {path}: {text}");
    }
}

fn violations(source: &Source) -> Vec<String> {
    let Source { path, text } = source;
    let code = code(text);
    let mut found = Vec::new();
    let lines = text.lines().count();
    if lines > LONGEST {
        found.push(format!("src/{path}: {lines} lines; split it"));
    }
    let user = module_of(path);
    for used in paths_in(&code).into_iter().chain(climbs(&user, &code)) {
        if !may_use(&user, &used) {
            found.push(format!("src/{path}: {user} may not use {used}"));
        }
    }
    for (name, allowed) in DECIDING {
        let is_named = if name.contains("::") {
            paths_in(&code).iter().any(|path| path == name)
        } else {
            code.match_indices(name).any(|(at, _)| !code[at + name.len()..].starts_with(is_word))
        };
        let within_policy = path.starts_with("policy/") && name.starts_with("policy::");
        if is_named && !within_policy && !allowed.iter().any(|(file, _)| path == file) {
            found.push(format!("src/{path}: {name} is not to be named here; iam::authorize decides"));
        }
    }
    for (name, allowed) in RESERVED {
        if names(&code, name) && !allowed.iter().any(|prefix| path.starts_with(prefix)) {
            found.push(format!("src/{path}: only {} may name {name}", allowed.join(", ")));
        }
    }
    found
}

/// Whether `user` may use `used`: itself and what it is a part of, or what stands lower.
fn may_use(user: &str, used: &str) -> bool {
    if user == "main" {
        return part_of(used, "cli");
    }
    match (layer(user), layer(used)) {
        (Some((user_line, user)), Some((used_line, used))) => user == used || user_line < used_line,
        // The crate root's own items: there are none.
        _ => user == "lib",
    }
}

/// The line of the layer that `path` (`kms::api::json`) stands in, and the module that gives it its place there.
fn layer(path: &str) -> Option<(usize, &'static str)> {
    let places = LAYERS.iter().enumerate().flat_map(|(line, layer)| layer.iter().map(move |module| (line, *module)));
    places.filter(|(_, module)| part_of(path, module)).max_by_key(|(_, module)| module.len())
}

/// `kms::api::json` of `kms/api/json.rs`.
fn module_of(path: &str) -> String {
    path.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::")
}

/// The modules named by `crate::...` (or, in `main.rs`, `strongroom::...`) in `code`, two segments deep, with braces
/// taken apart.
fn paths_in(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for root in ["crate::", "strongroom::"] {
        paths_below(root, code, &mut paths);
    }
    paths
}

/// Adds the paths that begin with `root`, without it.
fn paths_below(root: &str, code: &str, paths: &mut Vec<String>) {
    for (at, _) in code.match_indices(root) {
        if !code[..at].ends_with(|c| is_word(c) || c == ':') {
            expand("", &code[at + root.len()..], paths);
        }
    }
}

/// Adds the paths that `rest` begins with, below `prefix`.
fn expand(prefix: &str, rest: &str, paths: &mut Vec<String>) {
    let rest = rest.trim_start();
    if let Some(group) = rest.strip_prefix('{') {
        for item in items(group) {
            expand(prefix, item, paths);
        }
        return;
    }
    let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
    let path = if prefix.is_empty() { rest[..end].to_owned() } else { format!("{prefix}::{}", &rest[..end]) };
    match rest[end..].strip_prefix("::") {
        Some(deeper) if prefix.is_empty() => expand(&path, deeper, paths),
        _ => paths.push(path.trim_end_matches("::").to_owned()),
    }
}

/// The items of a brace group whose opening brace has been read.
fn items(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0_usize, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                items.push(group[start..at].trim());
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    items.retain(|item| !item.is_empty());
    items
}

/// Whether `code` names `name`: a type anywhere, a crate where a path begins with it.
fn names(code: &str, name: &str) -> bool {
    let is_crate = name.starts_with(|c: char| c.is_ascii_lowercase());
    code.match_indices(name).any(|(at, _)| {
        let before = &code[..at];
        let inside = before.strip_suffix("::").is_some_and(|path| path.ends_with(is_word));
        let whole = !before.ends_with(is_word) && !code[at + name.len()..].starts_with(is_word);
        whole && !(is_crate && inside)
    })
}

/// The modules that `code` reaches by climbing with `super`: to the crate's root and down again, or into a module that
/// stands higher than the one it is a part of (`kms::api`).
fn climbs(user: &str, code: &str) -> Vec<String> {
    let depth = user.split("::").count();
    let mut reached = Vec::new();
    // Inline modules add a level or two; a chain that is long enough either way counts when a layer's name follows.
    for levels in depth.max(2)..=depth + 2 {
        paths_below(&"super::".repeat(levels), code, &mut reached);
    }
    reached.retain(|path| layer(path).is_some());
    for (parent, child) in LAYERS.concat().iter().filter_map(|module| module.split_once("::")) {
        if part_of(user, parent) && ["super", "self"].iter().any(|up| code.contains(&format!("{up}::{child}::"))) {
            reached.push(format!("{parent}::{child}"));
        }
    }
    reached
}

fn part_of(path: &str, module: &str) -> bool {
    path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// `text` without its comments and string literals.
fn code(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("'\"'") || rest.starts_with("b'\"'") {
            rest.find('"').unwrap_or(0) + 2
        } else if let Some(hashes) = raw_string(rest) {
            let close = format!("\"{}", "#".repeat(hashes));
            let open = rest.find('"').unwrap_or(0) + 1;
            rest[open..].find(&close).map_or(rest.len(), |end| open + end + close.len())
        } else if c == '"' {
            string_end(rest)
        } else {
            code.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        rest = &rest[skip..];
    }
    code
}

/// The number of `#` of the raw string that `rest` begins with.
fn raw_string(rest: &str) -> Option<usize> {
    let hashes = rest.strip_prefix('r')?;
    let body = hashes.trim_start_matches('#');
    body.starts_with('"').then_some(hashes.len() - body.len())
}

fn string_end(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    rest.len()
}

fn source_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<Source> {
    let root = source_directory();
    let mut directories = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
                sources.push(Source { text: fs::read_to_string(&path).unwrap(), path: below });
            }
        }
    }
    sources
}
