from tests.workflows.modules.decorator import workflow
A = 1; B = 2; C = 3
D = \
    A + \
    C; E = 5; F = (
    6
); G = 7
def short(x): return x + A; y = 1
class Tiny: z = C; w = D
X = [
    1]; Y = [
    2]; Z = [X, Y]
H = 8;


@workflow
async def flow(): y = short(C); return [y, Tiny.w, Tiny.z, G, Z, H]
