# Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Reaction SMILES as patents have them: reactants, reagents and solvent >> product.

No package ships a set of reactions, so they are put together: one of the
common reactions of medicinal chemistry, two building blocks that fit it, and
the reagents it is run with, everything canonical as RDKit writes it.
"""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterator

from rdkit import Chem

# What a functional group hangs on, written from the atom that carries it. Each
# list is for the groups that are common there.
ARYL = """
c1ccccc1 c1ccc(F)cc1 c1ccc(Cl)cc1 c1cccc(Cl)c1 c1ccc(C)cc1 c1ccc(OC)cc1 c1cccc(OC)c1
c1ccc(C(F)(F)F)cc1 c1cccc(C(F)(F)F)c1 c1ccc(C#N)cc1 c1cccc(C#N)c1 c1ccc([N+](=O)[O-])cc1
c1ccc(C(=O)OC)cc1 c1ccc(S(C)(=O)=O)cc1 c1ccc(OC(F)(F)F)cc1 c1ccc(F)c(F)c1 c1ccc(Cl)c(Cl)c1
c1ccc2ccccc2c1 c1cccc2ccccc12 c1ccccc1F c1ccccc1Cl c1ccccc1OC c1ccc(N(C)C)cc1 c1ccc(OCC)cc1
c1ccc(C(C)(C)C)cc1 c1ccc2c(c1)OCO2 c1ccc(-c2ccccc2)cc1 c1cc(F)cc(F)c1 c1cc(OC)cc(OC)c1
c1cccnc1 c1ccncc1 c1ccc(F)nc1 c1ccc(OC)nc1 c1cnc(C)nc1 c1ccc(C(F)(F)F)nc1 c1cnn(C)c1 c1cccs1
c1ccc(Br)cc1 c1ccc(C)s1 c1ccco1 c1cccc2cccnc12 c1ccc2ncccc2c1 c1cc(C)on1 c1csc(C)n1
c1c(C)noc1C c1ccc2[nH]ccc2c1 c1ccc2nn(C)cc2c1 c1nc2ccccc2s1 c1nc2ccccc2[nH]1 c1ccc(NC(C)=O)cc1
c1cccc(C(=O)N(C)C)c1 c1ccc(CC#N)cc1 c1ccc(OCc2ccccc2)cc1 c1ccc(-n2cccn2)cc1
""".split()
ALKYL = """
CC CCC C(C)C CC(C)C C1CCCCC1 C1CCCC1 C1CC1 CC1CC1 Cc1ccccc1 Cc1ccc(F)cc1 Cc1ccc(Cl)cc1
Cc1ccc(OC)cc1 CCc1ccccc1 Cc1cccnc1 Cc1ccccn1 CCOC CCN(C)C CCC(=O)OC C(C)c1ccccc1 CCCOC
C1CCOCC1 C1CCN(C(=O)OC(C)(C)C)CC1 CC1CCN(C(=O)OC(C)(C)C)CC1 CC(F)(F)F CCO[Si](C)(C)C(C)(C)C
CC(=O)OCC CCCC(=O)OCC C(Cc1ccccc1)C(=O)OC C(C(C)C)C(=O)OC Cc1csc(C)n1 CC1CCOC1 CCc1c[nH]c2ccccc12
CCCCCC CCCl Cc1ccc(C(F)(F)F)cc1 Cc1cccc(F)c1 C1Cc2ccccc2C1 CCCN1CCOCC1 CCN1CCOCC1 CC#C
""".split()
# Secondary amines whole, the nitrogen first.
CYCLIC_AMINES = """
N1CCOCC1 N1CCCCC1 N1CCCC1 N1CCN(C)CC1 N1CCN(C(=O)OC(C)(C)C)CC1 N1CCC(O)CC1 N1CCc2ccccc2C1
N1CCN(c2ccccc2)CC1 N1CCC(C(=O)OCC)CC1 N1CC(F)(F)C1 N1CCSCC1 N1CCC(C)CC1 N1CCN(c2ccccc2OC)CC1
N1CCCC1C(=O)OC N1CCC(N(C)C)CC1 N1CCN(C(C)=O)CC1 N1CCC(c2ccccc2)CC1 N1CCN(c2ncccn2)CC1
N1CC2CC1CN2C(=O)OC(C)(C)C N1CCC2(CC1)OCCO2
""".split()

DMF, DCM, THF, MEOH = "CN(C)C=O", "ClCCl", "C1CCOC1", "CO"
DIOXANE, WATER, TOLUENE, ACETONITRILE = "C1COCCO1", "O", "Cc1ccccc1", "CC#N"
DIPEA, TEA = "CCN(C(C)C)C(C)C", "CCN(CC)CC"
K2CO3 = "O=C([O-])[O-].[K+].[K+]"
CS2CO3 = "O=C([O-])[O-].[Cs+].[Cs+]"
NA2CO3 = "O=C([O-])[O-].[Na+].[Na+]"
HATU = "CN(C)C(On1nnc2cccnc21)=[N+](C)C.F[P-](F)(F)(F)(F)F"
EDC = "CCN=C=NCCCN(C)C.Cl"
HOBT = "On1nnc2ccccc21"
PPH3 = "c1ccc(P(c2ccccc2)c2ccccc2)cc1"
TETRAKIS = f"{PPH3}.[Pd]"
PD_DPPF = "Cl[Pd]Cl.[Fe+2]"


def _joined(left: str, right: str) -> str:
    """Two fragments with a bond between their first atoms."""
    return f"{_opened(left)}.{_opened(right)}"


def _opened(fragment: str) -> str:
    """The fragment whose first atom opens the ring bond 99, which joins over a dot."""
    return fragment[0] + "%99" + fragment[1:]


def _kinds() -> dict[str, tuple]:
    """For each reaction: the two sorts of fragments, how reactants and product
    are written from them, and the sets of reagents."""

    def amide(x, amine):
        return f"O=C(O){x}", amine, f"O=C({x}){amine}"

    def suzuki(x, y):
        return f"Br{x}", f"OB(O){y}", _joined(x, y)

    def boronate(x, y):
        return f"Cl{x}", f"B%98({y})OC(C)(C)C(C)(C)O%98", _joined(x, y)

    def buchwald(x, amine):
        return f"Br{x}", amine, _joined(x, amine)

    def substitution(x, amine):
        return f"F{x}", amine, _joined(x, amine)

    def ether(x, y):
        return f"O{x}", f"Br{y}", f"O({x}){y}"

    def mitsunobu(x, y):
        return f"O{x}", f"O{y}", f"O({x}){y}"

    def reductive_amination(x, amine):
        return f"O=C{x}", amine, f"C({x}){amine}"

    def sulfonamide(x, amine):
        return f"O=S(=O)(Cl){x}", amine, f"O=S(=O)({x}){amine}"

    def urea(x, amine):
        return f"O=C=N{x}", amine, f"O=C(N{x}){amine}"

    def esterification(x, y):
        return f"O=C(O){x}", f"O{y}", f"O=C({x})O{y}"

    def grignard(x, y):
        return f"O=C{x}", f"Br[Mg]{y}", f"OC({x}){y}"

    primary = [f"N{x}" for x in ALKYL + ARYL[:30]]
    amines = CYCLIC_AMINES + primary
    return {
        "amide": (ARYL + ALKYL, amines, amide, [
            [HATU, DIPEA, DMF], [EDC, HOBT, TEA, DCM], [EDC, "CN(C)c1ccncc1", DCM],
            ["O=C(Cl)C(=O)Cl", TEA, DCM]]),
        "suzuki": (ARYL, ARYL, suzuki, [
            [TETRAKIS, NA2CO3, DIOXANE, WATER], [TETRAKIS, K2CO3, TOLUENE, "CCO", WATER],
            [PD_DPPF, CS2CO3, DIOXANE, WATER]]),
        "boronate": (ARYL, ARYL, boronate, [
            [PD_DPPF, K2CO3, DIOXANE, WATER], [TETRAKIS, NA2CO3, "COCCOC", WATER]]),
        "buchwald": (ARYL, CYCLIC_AMINES, buchwald, [
            ["CC(C)(C)[O-].[Na+]", "[Pd]", TOLUENE], [CS2CO3, "CC(=O)[O-].CC(=O)[O-].[Pd+2]", DIOXANE]]),
        "substitution": (ARYL, amines, substitution, [
            [K2CO3, DMF], [DIPEA, "CS(C)=O"], [CS2CO3, "CN1CCCC1=O"]]),
        "ether": (ARYL, ALKYL, ether, [[K2CO3, DMF], [CS2CO3, ACETONITRILE], ["[H-].[Na+]", THF]]),
        "mitsunobu": (ARYL, ALKYL, mitsunobu, [
            [PPH3, "CC(C)OC(=O)N=NC(=O)OC(C)C", THF], [PPH3, "CCOC(=O)N=NC(=O)OCC", TOLUENE]]),
        "reductive amination": (ARYL, amines, reductive_amination, [
            ["CC(=O)O[BH-](OC(C)=O)OC(C)=O.[Na+]", "CC(=O)O", DCM], ["[BH3-]C#N.[Na+]", MEOH],
            ["[BH4-].[Na+]", MEOH]]),
        "sulfonamide": (ARYL, amines, sulfonamide, [[TEA, DCM], ["c1ccncc1"], [DIPEA, THF]]),
        "urea": (ARYL, amines, urea, [[DCM], [TEA, THF], [ACETONITRILE]]),
        "ester": (ARYL, ALKYL, esterification, [
            ["C(=NC1CCCCC1)=NC1CCCCC1", "CN(C)c1ccncc1", DCM], [EDC, "CN(C)c1ccncc1", DCM]]),
        "grignard": (ARYL, ARYL, grignard, [[THF], ["CCOCC", "[Cl-].[NH4+]", WATER]]),
    }  # fmt: skip


@functools.cache
def _canonical(smiles: str) -> str:
    molecule = Chem.MolFromSmiles(smiles)
    if molecule is None:
        raise ValueError(f"{smiles}: not a molecule")
    return Chem.MolToSmiles(molecule)


def reactions(part: str, seed: int = 0) -> Iterator[str]:
    """Canonical reaction SMILES without end; `part` is "calibration" or "heldout".

    The two parts share no first building block, so neither product.
    """
    chance = random.Random(f"{part} {seed}")
    kinds = _kinds()
    halves = {}
    for name, (first, _, _, _) in kinds.items():
        # The same halves whatever the part.
        order = random.Random(name).sample(first, len(first))
        middle = len(order) // 2
        halves[name] = order[:middle] if part == "calibration" else order[middle:]
    for name in itertools.cycle(kinds):
        _, second, write, conditions = kinds[name]
        left, right, product = write(chance.choice(halves[name]), chance.choice(second))
        # The sets from patents mix reactants with reagents and sort the molecules.
        inputs = ".".join(map(_canonical, [left, right, *chance.choice(conditions)]))
        yield f"{'.'.join(sorted(inputs.split('.')))}>>{_canonical(product)}"
