//! The published figures that the toy rests on, each with its source.
//!
//! Nothing else in `higgs` holds a physical constant; what is not published but
//! chosen (parton densities, transverse momenta) lives in `process::production`
//! and is called a toy there. `docs/physics.md` lists the full references.
//! Masses, widths and energies are in GeV, cross-sections in fb.

/// Mass of the Higgs boson (PDG 2024: 125.20 ± 0.11).
pub const HIGGS_MASS_GEV: f64 = 125.20;
/// Standard-Model width at that mass (LHC Higgs WG, YR4 update: 4.11 MeV).
pub const HIGGS_WIDTH_GEV: f64 = 4.11e-3;
/// Mass of the Z boson (PDG 2024: 91.1880 ± 0.0020).
pub const Z_MASS_GEV: f64 = 91.1880;
/// Width of the Z boson (PDG 2024: 2.4955 ± 0.0023).
pub const Z_WIDTH_GEV: f64 = 2.4955;
/// Mass of the muon (PDG 2024).
pub const MUON_MASS_GEV: f64 = 0.105_658_375_5;
/// Effective leptonic weak mixing angle, sin² (PDG electroweak review).
pub const SIN2_THETA: f64 = 0.2315;
/// Centre-of-mass energy of LHC Run 2.
pub const COLLISION_ENERGY_GEV: f64 = 13_000.0;
/// Integrated luminosity the plot is scaled to (CMS Run 2, 138 fb⁻¹).
pub const LUMINOSITY_PER_FB: f64 = 138.0;

const FB_PER_PB: f64 = 1e3;
const FB_PER_NB: f64 = 1e6;

/// pp → H at 13 TeV and 125.20 GeV: ggF, VBF, WH, ZH, ttH, bbH (YR4 update).
const HIGGS_PRODUCTION_PB: [f64; 6] = [48.44, 3.776, 1.365, 0.880, 0.5052, 0.4850];
/// BR(H → 4e) at 125.20 GeV (YR4 update); the same for muons, whose mass does not matter.
const HIGGS_TO_FOUR_MUONS: f64 = 3.312e-5;
/// pp → Z times BR(Z → ℓℓ) per flavour, 66 < m < 116 GeV (ATLAS, arXiv:1603.09222).
const Z_TO_LEPTON_PAIR_NB: f64 = 1.981;
/// BR(Z → μμ) (PDG 2024).
const Z_TO_MUON_PAIR: f64 = 3.3662e-2;
/// BR(Z → 4ℓ), ℓ = e, μ, for pairs above 4 GeV (CMS-SMP-19-007).
const Z_TO_FOUR_LEPTONS: f64 = 4.67e-6;
/// Share of 4μ in 4ℓ: 4e : 4μ : 2e2μ taken as 1 : 1 : 2, interference left out.
const FOUR_MUON_SHARE: f64 = 0.25;
/// pp → ZZ, both pairs in 60–120 GeV (CMS, arXiv:2009.01186).
const ZZ_PRODUCTION_PB: f64 = 17.4;

/// σ(pp → H) × BR(H → 4μ).
pub fn higgs_fb() -> f64 {
    HIGGS_PRODUCTION_PB.iter().sum::<f64>() * FB_PER_PB * HIGGS_TO_FOUR_MUONS
}

/// σ(pp → Z) × BR(Z → 4μ), 80 < m4μ < 100 GeV, opposite-sign pairs above 4 GeV.
pub fn z_peak_fb() -> f64 {
    Z_TO_LEPTON_PAIR_NB * FB_PER_NB / Z_TO_MUON_PAIR * Z_TO_FOUR_LEPTONS * FOUR_MUON_SHARE
}

/// σ(pp → ZZ) × BR(Z → μμ)², both pairs in 60–120 GeV.
pub fn continuum_fb() -> f64 {
    ZZ_PRODUCTION_PB * FB_PER_PB * Z_TO_MUON_PAIR * Z_TO_MUON_PAIR
}
