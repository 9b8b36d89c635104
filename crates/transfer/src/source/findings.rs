//! What is found on the way, for people.

/// Obstacles and remarks, in the order in which they were found.
#[derive(Debug, Default)]
pub struct Findings {
    /// What keeps the machine from being moved, each with what to do.
    pub obstacles: Vec<String>,
    /// What is worth knowing.
    pub remarks: Vec<String>,
}

impl Findings {
    /// Adds what keeps the machine from being moved; it says what to do.
    pub fn obstacle(&mut self, text: String) {
        add(&mut self.obstacles, text);
    }

    /// Adds what is worth knowing.
    pub fn remark(&mut self, text: String) {
        add(&mut self.remarks, text);
    }
}

/// Each once. Names from a disk may hold anything; a terminal must not obey it.
fn add(texts: &mut Vec<String>, text: String) {
    let text: String = text
        .chars()
        .map(|letter| {
            if letter.is_control() {
                '\u{fffd}'
            } else {
                letter
            }
        })
        .collect();
    if !texts.contains(&text) {
        texts.push(text);
    }
}
