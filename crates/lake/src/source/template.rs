//! Templates of paths: `{patnr}/{taken}_{title}.pdf` finds a row's fields in the name of its file.

/// A template: literal text and names in braces, in turn.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Template(Vec<Piece>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Name(String),
}

impl Template {
    /// Nothing when there is no name, or two stand side by side so that nobody knows where one ends.
    pub(super) fn new(text: &str) -> Option<Self> {
        let (mut pieces, mut rest) = (Vec::new(), text);
        while !rest.is_empty() {
            let (literal, after) = rest.split_once('{').unwrap_or((rest, ""));
            let is_name_next = literal.len() < rest.len();
            if literal.contains('}') || (literal.is_empty() && !pieces.is_empty()) {
                return None;
            }
            if !literal.is_empty() {
                pieces.push(Piece::Literal(literal.to_owned()));
            }
            rest = "";
            if is_name_next {
                let (name, after) = after.split_once('}')?;
                if name.is_empty() || name.contains('{') {
                    return None;
                }
                pieces.push(Piece::Name(name.to_owned()));
                rest = after;
            }
        }
        let has_name = pieces.iter().any(|piece| matches!(piece, Piece::Name(_)));
        has_name.then_some(Self(pieces))
    }

    /// The fields by name; nothing when the path is not of this form. A field holds no `/` and ends
    /// where the text after it first begins.
    pub(super) fn fields<'a>(&'a self, path: &'a str) -> Option<Vec<(&'a str, &'a str)>> {
        let (mut fields, mut rest) = (Vec::new(), path);
        let mut pieces = self.0.iter().peekable();
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Literal(text) => rest = rest.strip_prefix(text.as_str())?,
                Piece::Name(name) => {
                    let end = match pieces.peek() {
                        Some(Piece::Literal(text)) => rest.find(text.as_str())?,
                        _ => rest.len(),
                    };
                    let (field, after) = rest.split_at(end);
                    if field.is_empty() || field.contains('/') {
                        return None;
                    }
                    fields.push((name.as_str(), field));
                    rest = after;
                }
            }
        }
        rest.is_empty().then_some(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_finds_fields_in_a_path() {
        let check = |template: &str, path: &str, expected: Option<&str>| {
            let template = Template::new(template).unwrap();
            let fields = template.fields(path).map(|fields| {
                let field = |(name, field): &(&str, &str)| format!("{name}={field}");
                fields.iter().map(field).collect::<Vec<_>>().join(" ")
            });
            assert_eq!(fields.as_deref(), expected, "{path}");
        };
        check("{p}/{d}_{t}.pdf", "4711/2024-01-01_x y.pdf", Some("p=4711 d=2024-01-01 t=x y"));
        check("{p}/{d}_{t}.pdf", "4711/2024.pdf", None);
        check("{p}/{d}_{t}.pdf", "4711/deep/2024_x.pdf", None);
        check("{p}/{d}_{t}.pdf", "/2024_x.pdf", None);
        check("scans/{p}.png", "scans/ü.png", Some("p=ü"));
        check("scans/{p}.png", "scans/ü.png.png", None);
        check("{p}", "a", Some("p=a"));
        for bad in ["", "a.pdf", "{", "{}", "{a}{b}", "a}b{c}", "{a{b}", "{a}/{b"] {
            assert_eq!(Template::new(bad), None, "{bad}");
        }
    }
}
