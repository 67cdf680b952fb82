//! Headers: what each column of a file is.
//!
//! | column | with `:` | with `~` | by flag |
//! |---|---|---|---|
//! | a node's id | `:ID`, `name:ID`, `:ID(Group)` | `~id` | `--id-column` |
//! | labels | `:LABEL` | `~label` | `--label-column` |
//! | where an edge starts and ends | `:START_ID`, `:END_ID`, each also with a group | `~from`, `~to` | `--start-column`, `--end-column` |
//! | an edge's type | `:TYPE` | `~label` | `--type-column` |
//! | a property | `name:int`, or `name` | the same | `--column name:int` |
//! | nothing | `:IGNORE` | | |
//!
//! A flag names a column by its name, or by its number: `#1` is the first.

use super::kind::{FieldType, Kind};

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileKind {
    /// A node on each line.
    Nodes,
    /// An edge on each line.
    Edges,
}

/// What a column is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Role {
    /// Nothing.
    Ignore,
    /// A node's id in the files, unique in its group.
    Id {
        /// The group.
        group: String,
    },
    /// A node's labels.
    Label,
    /// The id of the node where an edge starts.
    Start {
        /// The node's group.
        group: String,
    },
    /// The id of the node where an edge ends.
    End {
        /// The node's group.
        group: String,
    },
    /// An edge's type.
    Type,
    /// A property.
    Property,
}

/// A column of a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ColumnSpec {
    /// The header's field, as it is in the file.
    pub title: String,
    /// What it is.
    pub role: Role,
    /// The property that its fields become; an id may be one too.
    pub property: Option<String>,
    /// The property's type.
    pub field_type: FieldType,
    /// Whether somebody said so.
    pub typed: bool,
}

/// What flags say about columns.
#[derive(Clone, Debug, Default)]
pub(crate) struct ColumnFlags {
    /// `--id-column`
    pub id: Option<String>,
    /// `--label-column`
    pub label: Option<String>,
    /// `--start-column`
    pub start: Option<String>,
    /// `--end-column`
    pub end: Option<String>,
    /// `--type-column`
    pub edge_type: Option<String>,
    /// `--column`, its name and type.
    pub types: Vec<(String, FieldType)>,
    /// `--id-property`
    pub id_property: Option<String>,
}

/// What is wrong with a header: in which column, if in one, and why.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct HeaderError {
    /// The column's title.
    pub column: Option<String>,
    /// What is wrong.
    pub why: String,
}

fn error<T>(column: Option<&str>, why: impl Into<String>) -> Result<T, HeaderError> {
    Err(HeaderError { column: column.map(str::to_owned), why: why.into() })
}

/// Reads a header.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse_header(
    titles: &[String],
    kind: FileKind,
    flags: &ColumnFlags,
    fixed_type: bool,
) -> Result<Vec<ColumnSpec>, HeaderError> {
    // A property may be called `~label`; only without `:ID` or `:START_ID` it is what Neptune means by it.
    let tildes = !titles.iter().any(|title| {
        matches!(title.rsplit_once(':'), Some((_, spec)) if spec.starts_with("ID") || spec.starts_with("START_ID"))
    });
    let mut columns: Vec<ColumnSpec> =
        titles.iter().map(|title| read_title(title, kind, tildes, flags)).collect::<Result<_, _>>()?;
    apply_flags(&mut columns, kind, flags)?;
    check(&columns, kind, fixed_type)?;
    Ok(columns)
}

fn property(title: &str, name: &str, field_type: Option<FieldType>) -> ColumnSpec {
    ColumnSpec {
        title: title.to_owned(),
        role: Role::Property,
        property: Some(name.to_owned()),
        field_type: field_type.unwrap_or(FieldType::STRING),
        typed: field_type.is_some(),
    }
}

fn special(title: &str, role: Role, property: Option<&str>) -> ColumnSpec {
    let property = property.filter(|name| !name.is_empty()).map(str::to_owned);
    ColumnSpec { title: title.to_owned(), role, property, field_type: FieldType::STRING, typed: false }
}

fn read_title(
    title: &str,
    kind: FileKind,
    tildes: bool,
    flags: &ColumnFlags,
) -> Result<ColumnSpec, HeaderError> {
    let group = String::new;
    if tildes {
        match (title, kind) {
            ("~id", FileKind::Nodes) => {
                return Ok(special(title, Role::Id { group: group() }, flags.id_property.as_deref()));
            }
            ("~id", FileKind::Edges) => {
                return Ok(match &flags.id_property {
                    Some(key) => property(title, key, None),
                    None => special(title, Role::Ignore, None),
                });
            }
            ("~label", FileKind::Nodes) => return Ok(special(title, Role::Label, None)),
            ("~label", FileKind::Edges) => return Ok(special(title, Role::Type, None)),
            ("~from", FileKind::Edges) => return Ok(special(title, Role::Start { group: group() }, None)),
            ("~to", FileKind::Edges) => return Ok(special(title, Role::End { group: group() }, None)),
            _ => {}
        }
    }
    if let Some((_, field_type)) = flags.types.iter().find(|(name, _)| name == title) {
        return Ok(property(title, title, Some(*field_type)));
    }
    let Some((name, spec)) = title.rsplit_once(':') else {
        return Ok(property(title, title, None));
    };
    read_spec(title, name, spec, tildes, flags)
}

/// Reads what stands behind the colon.
fn read_spec(
    title: &str,
    name: &str,
    spec: &str,
    tildes: bool,
    flags: &ColumnFlags,
) -> Result<ColumnSpec, HeaderError> {
    let spec = spec.trim();
    let (word, group) = match spec.strip_suffix(')').and_then(|rest| rest.split_once('(')) {
        Some((word, group)) => (word, group),
        None => (spec, ""),
    };
    let named = Some(name).filter(|name| !name.is_empty());
    let owned = || group.to_owned();
    Ok(match word {
        "ID" => special(title, Role::Id { group: owned() }, named.or(flags.id_property.as_deref())),
        "START_ID" => special(title, Role::Start { group: owned() }, None),
        "END_ID" => special(title, Role::End { group: owned() }, None),
        "LABEL" => special(title, Role::Label, None),
        "TYPE" => special(title, Role::Type, None),
        "IGNORE" => special(title, Role::Ignore, None),
        _ if spec.contains('{') => {
            return error(Some(title), "options in braces are not supported");
        }
        _ => {
            // Neptune's cardinalities: a set becomes a list.
            let set = group.eq_ignore_ascii_case("set");
            let known = group.is_empty() || set || group.eq_ignore_ascii_case("single");
            let Some(mut field_type) = FieldType::parse(word).filter(|_| known) else {
                return error(
                    Some(title),
                    format!(
                        "there is no type {spec:?} (types: {}); if the colon belongs to the name, say --column \
                         '{title}:string'",
                        FieldType::words()
                    ),
                );
            };
            field_type.list |= set;
            if tildes && field_type.kind == Kind::Temporal("date") {
                field_type.kind = Kind::DateOrDateTime;
            }
            property(title, name, Some(field_type))
        }
    })
}

fn place(columns: &[ColumnSpec], wanted: &str) -> Option<usize> {
    let number = wanted.strip_prefix('#').and_then(|number| number.parse::<usize>().ok());
    if let Some(number) = number {
        return number.checked_sub(1).filter(|index| *index < columns.len());
    }
    columns.iter().position(|column| column.title == wanted || column.property.as_deref() == Some(wanted))
}

fn apply_flags(columns: &mut [ColumnSpec], kind: FileKind, flags: &ColumnFlags) -> Result<(), HeaderError> {
    let group = String::new;
    let wanted = match kind {
        FileKind::Nodes => [
            (&flags.id, "--id-column", Role::Id { group: group() }),
            (&flags.label, "--label-column", Role::Label),
            (&None, "", Role::Ignore),
        ],
        FileKind::Edges => [
            (&flags.start, "--start-column", Role::Start { group: group() }),
            (&flags.end, "--end-column", Role::End { group: group() }),
            (&flags.edge_type, "--type-column", Role::Type),
        ],
    };
    for (name, flag, role) in wanted {
        let Some(name) = name else { continue };
        let Some(column) = place(columns, name).and_then(|index| columns.get_mut(index)) else {
            return error(None, format!("there is no column {name:?}, which {flag} names"));
        };
        let keeps_property = matches!(role, Role::Id { .. });
        *column = ColumnSpec {
            property: if keeps_property { flags.id_property.clone() } else { None },
            ..special(&column.title, role, None)
        };
    }
    for (name, field_type) in &flags.types {
        // A file without the column is another one's business.
        if let Some(column) = place(columns, name).and_then(|index| columns.get_mut(index)) {
            column.field_type = *field_type;
            column.typed = true;
        }
    }
    Ok(())
}

fn check(columns: &[ColumnSpec], kind: FileKind, fixed_type: bool) -> Result<(), HeaderError> {
    let count = |is: fn(&Role) -> bool| columns.iter().filter(|column| is(&column.role)).count();
    let ids = count(|role| matches!(role, Role::Id { .. }));
    let starts = count(|role| matches!(role, Role::Start { .. }));
    let ends = count(|role| matches!(role, Role::End { .. }));
    let types = count(|role| *role == Role::Type);
    match kind {
        FileKind::Nodes => {
            if starts + ends + types > 0 {
                return error(None, "it has columns of edges, but was given with --nodes");
            }
            if ids > 1 {
                return error(None, "it has more than one column of ids");
            }
        }
        FileKind::Edges => {
            if ids > 0 {
                return error(None, "it has a column of node ids, but was given with --edges");
            }
            if starts != 1 || ends != 1 {
                return error(
                    None,
                    "it needs one column that says where edges start and one where they end: :START_ID and \
                     :END_ID, ~from and ~to, or --start-column and --end-column",
                );
            }
            if types > 1 || types == 0 && !fixed_type {
                return error(
                    None,
                    "it needs one column of types: :TYPE, ~label or --type-column; or --type",
                );
            }
        }
    }
    for (index, column) in columns.iter().enumerate() {
        let earlier = columns[..index].iter().any(|other| other.property == column.property);
        if column.property.is_some() && earlier {
            return error(Some(&column.title), "two columns have the same name");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(header: &str, kind: FileKind, flags: &ColumnFlags) -> Result<Vec<ColumnSpec>, HeaderError> {
        let titles: Vec<String> = header.split(',').map(str::to_owned).collect();
        parse_header(&titles, kind, flags, false)
    }

    /// Each column as role, property and type.
    fn shown(header: &str, kind: FileKind, flags: &ColumnFlags) -> Vec<String> {
        parse(header, kind, flags)
            .unwrap()
            .into_iter()
            .map(|column| {
                let role = match column.role {
                    Role::Ignore => "-".to_owned(),
                    Role::Id { group } => format!("id({group})"),
                    Role::Label => "label".to_owned(),
                    Role::Start { group } => format!("start({group})"),
                    Role::End { group } => format!("end({group})"),
                    Role::Type => "type".to_owned(),
                    Role::Property => "prop".to_owned(),
                };
                match column.property {
                    Some(key) => format!(
                        "{role} {key}:{}{}",
                        column.field_type.word(),
                        if column.typed { "" } else { "?" }
                    ),
                    None => role,
                }
            })
            .collect()
    }

    #[test]
    fn headers_with_colons() {
        let none = ColumnFlags::default();
        assert_eq!(
            shown(
                "personId:ID(Person),name,born:int,tags:string[],:LABEL,x:IGNORE,a:b:date",
                FileKind::Nodes,
                &none
            ),
            [
                "id(Person) personId:string?",
                "prop name:string?",
                "prop born:int",
                "prop tags:string[]",
                "label",
                "-",
                "prop a:b:date"
            ]
        );
        assert_eq!(
            shown(":START_ID(A),:END_ID(B),:TYPE,w:double", FileKind::Edges, &none),
            ["start(A)", "end(B)", "type", "prop w:float"]
        );
        assert_eq!(
            shown(":ID,~label:string,:LABEL", FileKind::Nodes, &none),
            ["id()", "prop ~label:string", "label"]
        );
    }

    #[test]
    fn headers_with_tildes() {
        let none = ColumnFlags::default();
        assert_eq!(
            shown("~id,~label,code:string,when:Date,tags:String(set),n:Int(single)", FileKind::Nodes, &none),
            ["id()", "label", "prop code:string", "prop when:date", "prop tags:string[]", "prop n:int"]
        );
        assert_eq!(
            shown("~id,~from,~to,~label,d:int", FileKind::Edges, &none),
            ["-", "start()", "end()", "type", "prop d:int"]
        );
        let keep = ColumnFlags { id_property: Some("id".to_owned()), ..none };
        assert_eq!(shown("~id,~label", FileKind::Nodes, &keep), ["id() id:string?", "label"]);
        assert_eq!(shown("~id,~from,~to,~label", FileKind::Edges, &keep)[0], "prop id:string?");
    }

    #[test]
    fn headers_by_flags() {
        let flag = |name: &str| Some(name.to_owned());
        let flags = ColumnFlags {
            id: flag("key"),
            start: flag("#1"),
            end: flag("#2"),
            edge_type: flag("kind"),
            types: vec![
                ("age".to_owned(), FieldType::one(Kind::Int)),
                ("foaf:name".to_owned(), FieldType::STRING),
            ],
            ..ColumnFlags::default()
        };
        assert_eq!(
            shown("key,age,foaf:name", FileKind::Nodes, &flags),
            ["id()", "prop age:int", "prop foaf:name:string"]
        );
        assert_eq!(shown("p.id,p.id,kind", FileKind::Edges, &flags), ["start()", "end()", "type"]);
        let keep = ColumnFlags { id_property: flag("key"), ..flags };
        assert_eq!(shown("key", FileKind::Nodes, &keep), ["id() key:string?"]);
    }

    #[test]
    fn headers_that_make_no_sense() {
        let none = ColumnFlags::default();
        let why = |header: &str, kind| parse(header, kind, &none).unwrap_err().why;
        assert!(why("a:point,b", FileKind::Nodes).contains("no type \"point\""));
        assert!(
            why("a:datetime{timezone:UTC}", FileKind::Nodes).contains("braces")
                || why("a:datetime{timezone:UTC}", FileKind::Nodes).contains("no type")
        );
        assert!(why(":ID,:ID", FileKind::Nodes).contains("more than one"));
        assert!(why("name,name:int", FileKind::Nodes).contains("same name"));
        assert!(why(":START_ID,:END_ID", FileKind::Nodes).contains("--nodes"));
        assert!(why(":ID,:START_ID,:END_ID,:TYPE", FileKind::Edges).contains("--edges"));
        assert!(why("a,b", FileKind::Edges).contains("--start-column"));
        assert!(why("~from,~to", FileKind::Edges).contains("--type"));
        let flags = ColumnFlags { id: Some("#9".to_owned()), ..none };
        assert!(parse("a", FileKind::Nodes, &flags).unwrap_err().why.contains("\"#9\""));
    }
}
