//! Holds the header of a file to the style page: the role of the file, what goes in, and what comes out.
//!
//! In: a source file. Out: the parts that its header lacks.

/// The parts of a header, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first paragraph.
    Role,
    /// Another paragraph begins with `In:`.
    In,
    /// The same paragraph goes on with `Out:`.
    Out,
}

pub fn lacking(text: &str) -> Vec<Part> {
    let header = paragraphs(text);
    let role = header.first().filter(|first| !first.starts_with("In:"));
    let input = header.iter().find(|paragraph| paragraph.starts_with("In: "));
    let output = input.filter(|input| input.contains(". Out: "));
    let parts = [(Part::Role, role), (Part::In, input), (Part::Out, output)];
    parts.into_iter().filter(|(_, found)| found.is_none()).map(|(part, _)| part).collect()
}

/// The paragraphs of the comment with which a file begins, each on one line.
fn paragraphs(text: &str) -> Vec<String> {
    let lines = text.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    let header: Vec<&str> = lines.collect();
    let joined = header.split(|line| line.is_empty()).map(|lines| lines.join(" "));
    joined.filter(|paragraph| !paragraph.is_empty()).collect()
}
