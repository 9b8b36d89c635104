//! A manual page as man(7) has it: the few macros that our pages need.
//!
//! In the texts, what stands in backquotes, options (`--name`) and other pages
//! (name(8)) are set in bold.

/// A page that grows from its head on.
pub struct Page(String);

impl Page {
    /// The page of that name and section of this version of p2v.
    pub fn new(name: &str, section: u8, version: &str) -> Self {
        let title = escaped(&name.to_uppercase());
        let made = ".\\\" Made from the definitions in the source: see `make generated`.";
        Self(format!(
            "{made}\n.TH \"{title}\" {section} \"\" \"p2v {version}\" \"p2v-target\"\n.nh\n.ad l\n"
        ))
    }

    /// The source of the page.
    pub fn into_text(self) -> String {
        self.0
    }

    /// A section begins.
    pub fn section(&mut self, title: &str) {
        self.macro_line("SH", &title.to_uppercase());
    }

    /// A part of a section begins.
    pub fn subsection(&mut self, title: &str) {
        self.macro_line("SS", title);
    }

    /// A paragraph.
    pub fn paragraph(&mut self, text: &str) {
        self.paragraph_so(&inline(text));
    }

    /// A paragraph that is set already.
    pub fn paragraph_so(&mut self, set: &str) {
        self.begin_paragraph();
        self.line(set);
    }

    /// A section's first one has its space already.
    fn begin_paragraph(&mut self) {
        let last = self.0.lines().last().unwrap_or_default();
        if !last.starts_with(".SH") && !last.starts_with(".SS") {
            self.0 += ".PP\n";
        }
    }

    /// A term in bold, and what it means, indented.
    pub fn tagged(&mut self, term: &str, text: &str) {
        self.tagged_so(&bold(term), text);
    }

    /// The same with a term that is set already.
    pub fn tagged_so(&mut self, term: &str, text: &str) {
        self.0 += ".TP\n";
        self.line(term);
        self.line(&inline(text));
    }

    /// What follows is indented as far as the text of the last term.
    pub fn indented(&mut self, content: impl FnOnce(&mut Self)) {
        self.0 += ".RS\n";
        content(self);
        self.0 += ".RE\n";
    }

    /// Lines exactly as they are.
    pub fn literal(&mut self, lines: &str) {
        self.begin_paragraph();
        self.0 += ".RS 4\n.nf\n";
        for line in lines.lines() {
            self.line(&escaped(line));
        }
        self.0 += ".fi\n.RE\n";
    }

    /// A text line that is set already.
    pub fn line(&mut self, set: &str) {
        // A control character at the beginning would be a macro.
        if set.starts_with(['.', '\'']) {
            self.0 += "\\&";
        }
        self.0 += set;
        self.0.push('\n');
    }

    fn macro_line(&mut self, name: &str, argument: &str) {
        self.0 += &format!(".{name} \"{}\"\n", escaped(argument).replace('"', "\\(dq"));
    }
}

/// In bold.
pub fn bold(text: &str) -> String {
    format!("\\fB{}\\fR", escaped(text))
}

/// In italics: what stands for something else.
pub fn italic(text: &str) -> String {
    format!("\\fI{}\\fR", escaped(text))
}

/// A running text, each sentence's end kept in its line.
pub fn inline(text: &str) -> String {
    let mut parts = text.split('`');
    let mut set = spaced_words(parts.next().unwrap_or_default());
    while let (Some(quoted), after) = (parts.next(), parts.next()) {
        set += &bold(quoted);
        set += &spaced_words(after.unwrap_or_default());
    }
    set
}

/// Words with single blanks between them, also at the ends where there were any.
fn spaced_words(text: &str) -> String {
    let pieces = text.split(char::is_whitespace).map(word);
    pieces.collect::<Vec<_>>().join(" ")
}

fn word(word: &str) -> String {
    let (before, rest) = match word.strip_prefix('(') {
        Some(rest) => ("(", rest),
        None => ("", word),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if let Some((name, after)) = rest.split_once('(') {
        let is_page =
            after.starts_with(|c: char| c.is_ascii_digit()) && after[1..].starts_with(')');
        if is_page && !name.is_empty() && name.chars().all(is_name) {
            return format!("{before}{}({}", bold(name), escaped(after));
        }
    }
    if rest.starts_with("--") && rest.len() > 2 {
        let end = rest
            .trim_end_matches(|c: char| !c.is_ascii_alphanumeric())
            .len();
        return format!("{before}{}{}", bold(&rest[..end]), escaped(&rest[end..]));
    }
    escaped(word)
}

/// The text so that it stands for itself.
pub fn escaped(text: &str) -> String {
    let mut set = String::new();
    for c in text.chars() {
        match c {
            '\\' => set += "\\e",
            '-' => set += "\\-",
            '\'' => set += "\\(aq",
            '`' => set += "\\(ga",
            '^' => set += "\\(ha",
            '~' => set += "\\(ti",
            c => set.push(c),
        }
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_stand_for_themselves_and_names_are_bold() {
        let table = [
            ("plain text", "plain text"),
            ("a `b c` d", "a \\fBb c\\fR d"),
            ("`b`.", "\\fBb\\fR."),
            ("see p2v(8).", "see \\fBp2v\\fR(8)."),
            ("(see p2v-fix(8))", "(see \\fBp2v\\-fix\\fR(8))"),
            ("with --dry-run, all", "with \\fB\\-\\-dry\\-run\\fR, all"),
            ("f(x) -- y", "f(x) \\-\\- y"),
            ("it's \\n ~", "it\\(aqs \\en \\(ti"),
        ];
        for (text, set) in table {
            assert_eq!(inline(text), set, "{text}");
        }
        let mut page = Page::new("x", 8, "1");
        page.line(".dotted");
        assert!(page.into_text().ends_with("\n\\&.dotted\n"));
    }
}
