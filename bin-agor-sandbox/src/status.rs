//! What holds and what does not, layer by layer: for `--status-fd`, the span, and the warnings.

use serde::Serialize;

/// How far a layer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// In full.
    Enforced,
    /// In part: `why` says what is missing.
    Degraded,
    /// Asked for, and not there.
    Absent,
    /// Not asked for.
    Off,
}

/// A feature of Landlock that this kernel does not have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Dropped {
    /// Its name.
    pub feature: &'static str,
    /// The ABI that has it.
    pub since_abi: u32,
    /// The layer that does the same here; nothing when it is not needed or not done.
    pub covered_by: Option<&'static str>,
    /// Whether the policy asks for what it would enforce.
    pub needed: bool,
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// `mounts`, `environment`, `descriptors`, `limits`, `capabilities`, `no_new_privs`, `files`, `tcp`, …
    pub name: &'static str,
    /// How far it holds.
    pub state: State,
    /// What is missing, or what it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Known limits that hold although it is enforced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<&'static str>,
}

/// All layers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// 1
    pub schema: u32,
    /// The profile.
    pub profile: String,
    /// Landlock's ABI as the kernel says it; 0 when there is none.
    pub landlock_abi: u32,
    /// How far everything holds: the worst of the layers.
    pub state: State,
    /// The layers in the order in which they are put up.
    pub layers: Vec<Layer>,
    /// What this kernel's Landlock lacks.
    pub dropped: Vec<Dropped>,
    /// What was found in the policy and deserves a look.
    pub findings: Vec<String>,
}

impl Status {
    /// Nothing yet.
    pub fn new(profile: &str) -> Status {
        Status {
            schema: 1,
            profile: profile.to_owned(),
            landlock_abi: 0,
            state: State::Enforced,
            layers: Vec::with_capacity(12),
            dropped: Vec::new(),
            findings: Vec::new(),
        }
    }

    /// Adds a layer.
    pub fn add(&mut self, name: &'static str, state: State, why: Option<String>) -> &mut Layer {
        if matches!(state, State::Degraded | State::Absent) {
            self.state = State::Degraded;
        }
        self.layers.push(Layer { name, state, why, limits: Vec::new() });
        let last = self.layers.len() - 1;
        &mut self.layers[last]
    }

    /// The layers that do not hold in full although they were asked for.
    pub fn weak(&self) -> impl Iterator<Item = &Layer> {
        self.layers.iter().filter(|layer| matches!(layer.state, State::Degraded | State::Absent))
    }
}
