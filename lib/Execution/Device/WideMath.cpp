//===- WideMath.cpp - Elementary functions in f64 -------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// All functions come from exponential, logarithm, sine and arc tangent. These
// reduce the range of their argument until a short power series is exact to
// f64; constants are those of the series.
//
//===----------------------------------------------------------------------===//

#include "WideMath.h"

#include "llvm/ADT/TypeSwitch.h"

#include <cmath>
#include <limits>

using namespace mlir;
using namespace quantopt;

namespace {

/// Builds functions of f64.
class Wide {
public:
  Wide(OpBuilder &builder, Location loc) : b(builder), loc(loc) {}

  Value number(double value) {
    return arith::ConstantOp::create(b, loc, b.getF64FloatAttr(value));
  }
  Value integer(int64_t value) {
    return arith::ConstantIntOp::create(b, loc, value, 64);
  }
  Value add(Value x, Value y) { return arith::AddFOp::create(b, loc, x, y); }
  Value sub(Value x, Value y) { return arith::SubFOp::create(b, loc, x, y); }
  Value mul(Value x, Value y) { return arith::MulFOp::create(b, loc, x, y); }
  Value div(Value x, Value y) { return arith::DivFOp::create(b, loc, x, y); }
  Value fma(Value x, Value y, Value z) {
    return math::FmaOp::create(b, loc, x, y, z);
  }
  Value neg(Value x) { return arith::NegFOp::create(b, loc, x); }
  Value abs(Value x) { return math::AbsFOp::create(b, loc, x); }
  Value sqrt(Value x) { return math::SqrtOp::create(b, loc, x); }
  Value nearest(Value x) { return math::RoundEvenOp::create(b, loc, x); }
  Value sign(Value of, Value magnitude) {
    return math::CopySignOp::create(b, loc, magnitude, of);
  }
  Value less(Value x, Value y) {
    return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OLT, x, y);
  }
  Value equal(Value x, Value y) {
    return arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OEQ, x, y);
  }
  Value select(Value condition, Value x, Value y) {
    return arith::SelectOp::create(b, loc, condition, x, y);
  }
  Value bits(Value x) {
    return arith::BitcastOp::create(b, loc, b.getI64Type(), x);
  }
  Value fromBits(Value x) {
    return arith::BitcastOp::create(b, loc, b.getF64Type(), x);
  }
  /// coefficients[0] + x * (coefficients[1] + x * ...).
  Value polynomial(Value x, ArrayRef<double> coefficients) {
    Value sum = number(coefficients.back());
    for (double coefficient : llvm::reverse(coefficients.drop_back()))
      sum = fma(sum, x, number(coefficient));
    return sum;
  }

  Value exp(Value x);
  Value expm1(Value x);
  Value log(Value x);
  Value log1p(Value x);
  std::pair<Value, Value> sinCos(Value x);
  Value atan(Value x);
  Value atan2(Value y, Value x);
  Value pow(Value x, Value y);
  Value sinh(Value x);

private:
  Value exponentOf(Value bits) {
    Value exponent = arith::ShRUIOp::create(b, loc, bits, integer(52));
    return arith::AndIOp::create(b, loc, exponent, integer(0x7FF));
  }
  /// 2^k of an integer that lies between the exponents of f64.
  Value powerOfTwo(Value k) {
    Value biased = arith::AddIOp::create(b, loc, k, integer(1023));
    return fromBits(arith::ShLIOp::create(b, loc, biased, integer(52)));
  }
  Value isOdd(Value integerValued);

  OpBuilder &b;
  Location loc;
};

// ln 2 and pi / 2 as sums of doubles, the first of few enough digits that its
// products with small integers are exact.
constexpr double ln2High = 0x1.62e42fefa3800p-1, ln2Low = 0x1.ef35793c76730p-45;
constexpr double halfPi[] = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54,
                             -0x1.f1976b7ed8fbcp-110};
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double notANumber = std::numeric_limits<double>::quiet_NaN();

/// 1 / from!, with alternating signs if `step` is negative; every |step|-th.
SmallVector<double> inverseFactorials(unsigned from, int step, unsigned count) {
  SmallVector<double> result;
  double sign = 1;
  for (unsigned i = 0; i < count; ++i) {
    double factorial = 1;
    for (unsigned k = 2; k <= from + i * std::abs(step); ++k)
      factorial *= k;
    result.push_back(sign / factorial);
    sign = step < 0 ? -sign : sign;
  }
  return result;
}

/// scale / 1, scale / 3, scale / 5, ... with alternating signs if asked for.
SmallVector<double> inverseOdds(double scale, bool alternating,
                                unsigned count) {
  SmallVector<double> result;
  for (unsigned i = 0; i < count; ++i)
    result.push_back((alternating && i % 2 ? -scale : scale) / (2 * i + 1));
  return result;
}

} // namespace

/// e^x = 2^k e^r with |r| <= ln 2 / 2.
Value Wide::exp(Value x) {
  // Beyond these the result is 0 or infinite whatever x is.
  Value low = number(-746), high = number(710);
  Value isNumber = equal(x, x);
  Value clamped = select(less(x, low), low, select(less(high, x), high, x));
  clamped = select(isNumber, clamped, number(0));
  Value k = nearest(mul(clamped, number(1 / (ln2High + ln2Low))));
  Value r = fma(neg(k), number(ln2High), clamped);
  r = fma(neg(k), number(ln2Low), r);
  Value power = polynomial(r, inverseFactorials(0, 1, 15));
  Value count = arith::FPToSIOp::create(b, loc, b.getI64Type(), k);
  // In two steps: 2^k alone may be out of range.
  Value half = arith::ShRSIOp::create(b, loc, count, integer(1));
  Value rest = arith::SubIOp::create(b, loc, count, half);
  power = mul(mul(power, powerOfTwo(half)), powerOfTwo(rest));
  return select(isNumber, power, x);
}

Value Wide::expm1(Value x) {
  SmallVector<double> series = inverseFactorials(1, 1, 15);
  Value small = mul(x, polynomial(x, series));
  Value large = sub(exp(x), number(1));
  return select(less(abs(x), number(0.35)), small, large);
}

/// log(m 2^e) = e ln 2 + 2 atanh((m - 1) / (m + 1)), m around 1.
Value Wide::log(Value x) {
  Value isSmall = less(x, number(std::numeric_limits<double>::min()));
  Value scaled = select(isSmall, mul(x, number(0x1p54)), x);
  Value word = bits(scaled);
  // So that m lies between the roots of 1/2 and 2.
  Value shifted =
      arith::SubIOp::create(b, loc, word, integer(0x3FE6A09E667F3BCD));
  Value exponent = arith::ShRSIOp::create(b, loc, shifted, integer(52));
  Value m = fromBits(arith::SubIOp::create(
      b, loc, word, arith::ShLIOp::create(b, loc, exponent, integer(52))));
  Value e = arith::SIToFPOp::create(b, loc, b.getF64Type(), exponent);
  e = select(isSmall, sub(e, number(54)), e);
  Value f = sub(m, number(1));
  Value s = div(f, add(m, number(1)));
  Value s2 = mul(s, s);
  SmallVector<double> series = inverseOdds(2, false, 12);
  Value tail = mul(mul(s, s2), polynomial(s2, ArrayRef(series).drop_front()));
  Value result = fma(e, number(ln2Low), tail);
  result = add(result, add(s, s));
  result = fma(e, number(ln2High), result);
  result = select(equal(x, number(infinity)), x, result);
  result = select(equal(x, number(0)), number(-infinity), result);
  Value valid =
      arith::CmpFOp::create(b, loc, arith::CmpFPredicate::OGE, x, number(0));
  return select(valid, result, number(notANumber));
}

/// log of the rounded 1 + x, mended for what rounding took.
Value Wide::log1p(Value x) {
  Value one = number(1);
  Value u = add(one, x);
  Value lost = div(sub(x, sub(u, one)), u);
  Value ofU = log(u);
  Value result = add(ofU, lost);
  // Infinities have no mending, and tiny numbers are their own result.
  result = select(less(abs(x), number(0x1p-60)), x, result);
  return select(equal(abs(ofU), number(infinity)), ofU, result);
}

/// Both at once, after taking off multiples of pi / 2. Exact to f64 as long as
/// their number fits one, that is for |x| below 2^52.
std::pair<Value, Value> Wide::sinCos(Value x) {
  Value k = nearest(mul(x, number(2 / M_PI)));
  Value r = x;
  for (double part : halfPi)
    r = fma(neg(k), number(part), r);
  Value r2 = mul(r, r);
  SmallVector<double> ofSine = inverseFactorials(3, -2, 8),
                      ofCosine = inverseFactorials(0, -2, 10);
  Value sine = fma(neg(mul(r, r2)), polynomial(r2, ofSine), r);
  Value cosine = polynomial(r2, ofCosine);
  // k mod 4, in floats: k may be large.
  Value quarter = mul(k, number(0.25));
  Value quadrant = mul(
      number(4), sub(quarter, Value(math::FloorOp::create(b, loc, quarter))));
  auto is = [&](double value) { return equal(quadrant, number(value)); };
  Value odd = arith::OrIOp::create(b, loc, is(1), is(3));
  Value sineNegative = arith::OrIOp::create(b, loc, is(2), is(3));
  Value cosineNegative = arith::OrIOp::create(b, loc, is(1), is(2));
  Value s = select(odd, cosine, sine), c = select(odd, sine, cosine);
  return {select(sineNegative, neg(s), s), select(cosineNegative, neg(c), c)};
}

/// Twice atan x = 2 atan(x / (1 + sqrt(1 + x^2))), then the series.
Value Wide::atan(Value x) {
  Value magnitude = abs(x), one = number(1);
  Value isLarge = less(one, magnitude);
  Value t = select(isLarge, div(one, magnitude), magnitude);
  for (int i = 0; i < 2; ++i)
    t = div(t, add(one, sqrt(fma(t, t, one))));
  Value t2 = mul(t, t);
  Value angle = mul(t, polynomial(t2, inverseOdds(4, true, 14)));
  angle = select(isLarge, sub(number(M_PI_2), angle), angle);
  return sign(x, angle);
}

Value Wide::atan2(Value y, Value x) {
  // The smaller over the larger, and from there to the quadrant.
  Value ax = abs(x), ay = abs(y);
  Value steep = less(ax, ay);
  Value ratio = div(select(steep, ax, ay), select(steep, ay, ax));
  Value bothZero = equal(add(ax, ay), number(0));
  Value bothInfinite = arith::AndIOp::create(
      b, loc, equal(ax, number(infinity)), equal(ay, number(infinity)));
  ratio = select(bothZero, number(0), ratio);
  ratio = select(bothInfinite, number(1), ratio);
  Value angle = atan(ratio);
  angle = select(steep, sub(number(M_PI_2), angle), angle);
  Value leftOf = less(sign(x, number(1)), number(0));
  angle = select(leftOf, sub(number(M_PI), angle), angle);
  return sign(y, angle);
}

Value Wide::isOdd(Value integerValued) {
  Value half = mul(integerValued, number(0.5));
  Value isInteger =
      equal(integerValued, math::FloorOp::create(b, loc, integerValued));
  Value whole = equal(half, math::FloorOp::create(b, loc, half));
  Value one = arith::ConstantIntOp::create(b, loc, 1, 1);
  return arith::AndIOp::create(b, loc, isInteger,
                               arith::XOrIOp::create(b, loc, whole, one));
}

Value Wide::pow(Value x, Value y) {
  Value zero = number(0), one = number(1);
  Value size = exp(mul(y, log(abs(x))));
  // A negative base: of an integer exponent alone, whose parity is the sign.
  Value isNegative = less(sign(x, one), zero);
  Value signedSize = select(isOdd(y), neg(size), size);
  Value isInteger = equal(y, math::FloorOp::create(b, loc, y));
  Value ofNegative = select(isInteger, signedSize, number(notANumber));
  Value infinite = equal(abs(x), number(infinity));
  Value unsignedCase = arith::OrIOp::create(b, loc, infinite, equal(x, zero));
  ofNegative = select(unsignedCase, signedSize, ofNegative);
  Value result = select(isNegative, ofNegative, size);
  // |x| = 1 and y infinite: 0 * infinity above.
  Value isUnit = arith::AndIOp::create(b, loc, equal(abs(x), one),
                                       equal(abs(y), number(infinity)));
  result = select(isUnit, one, result);
  result = select(equal(y, zero), one, result);
  return select(equal(x, one), one, result);
}

Value Wide::sinh(Value x) {
  // (e^x - e^-x) / 2 by m = e^|x| - 1, which is exact near 0.
  Value m = expm1(abs(x));
  Value infinite = equal(m, number(infinity));
  Value ratio = div(m, add(m, number(1)));
  Value size = mul(number(0.5), add(m, select(infinite, number(0), ratio)));
  return sign(x, size);
}

bool execution::hasWideForm(Operation *op) {
  return isa<math::ExpOp, math::Exp2Op, math::ExpM1Op, math::LogOp,
             math::Log2Op, math::Log10Op, math::Log1pOp, math::PowFOp,
             math::FPowIOp, math::CbrtOp, math::SinOp, math::CosOp, math::TanOp,
             math::AtanOp, math::Atan2Op, math::AsinOp, math::AcosOp,
             math::SinhOp, math::CoshOp, math::TanhOp, math::AsinhOp,
             math::AcoshOp, math::AtanhOp>(op);
}

Value execution::buildWide(OpBuilder &builder, Operation *op, ValueRange x) {
  Wide w(builder, op->getLoc());
  Value one = w.number(1), half = w.number(0.5);
  auto square = [&](Value value) { return w.mul(value, value); };
  return llvm::TypeSwitch<Operation *, Value>(op)
      .Case([&](math::ExpOp) { return w.exp(x[0]); })
      .Case([&](math::Exp2Op) { return w.exp(w.mul(x[0], w.number(M_LN2))); })
      .Case([&](math::ExpM1Op) { return w.expm1(x[0]); })
      .Case([&](math::LogOp) { return w.log(x[0]); })
      .Case([&](math::Log2Op) { return w.mul(w.log(x[0]), w.number(M_LOG2E)); })
      .Case(
          [&](math::Log10Op) { return w.mul(w.log(x[0]), w.number(M_LOG10E)); })
      .Case([&](math::Log1pOp) { return w.log1p(x[0]); })
      .Case([&](math::PowFOp) { return w.pow(x[0], x[1]); })
      .Case([&](math::FPowIOp) { return w.pow(x[0], x[1]); })
      .Case([&](math::CbrtOp) {
        Value size = w.exp(w.div(w.log(w.abs(x[0])), w.number(3)));
        return w.sign(x[0], size);
      })
      .Case([&](math::SinOp) { return w.sinCos(x[0]).first; })
      .Case([&](math::CosOp) { return w.sinCos(x[0]).second; })
      .Case([&](math::TanOp) {
        auto [s, c] = w.sinCos(x[0]);
        return w.div(s, c);
      })
      .Case([&](math::AtanOp) { return w.atan(x[0]); })
      .Case([&](math::Atan2Op) { return w.atan2(x[0], x[1]); })
      .Case([&](math::AsinOp) {
        Value other = w.mul(w.sub(one, x[0]), w.add(one, x[0]));
        return w.atan2(x[0], w.sqrt(other));
      })
      .Case([&](math::AcosOp) {
        Value other = w.mul(w.sub(one, x[0]), w.add(one, x[0]));
        return w.atan2(w.sqrt(other), x[0]);
      })
      .Case([&](math::SinhOp) { return w.sinh(x[0]); })
      .Case([&](math::CoshOp) {
        Value e = w.exp(w.abs(x[0]));
        return w.mul(half, w.add(e, w.div(one, e)));
      })
      .Case([&](math::TanhOp) {
        // By m = e^(2 |x|) - 1, which is infinite soon.
        Value m = w.expm1(w.mul(w.number(2), w.abs(x[0])));
        Value isLarge = w.less(w.number(1e17), m);
        Value ratio = w.div(m, w.add(m, w.number(2)));
        return w.sign(x[0], w.select(isLarge, one, ratio));
      })
      .Case([&](math::AsinhOp) {
        Value size = w.abs(x[0]);
        Value root = w.sqrt(w.add(square(size), one));
        Value beyond = w.div(square(size), w.add(root, one));
        Value result = w.log1p(w.add(size, beyond));
        // Where squares overflow, twice the number is all that counts.
        Value large = w.add(w.log(size), w.number(M_LN2));
        Value isLarge = w.less(w.number(1e10), size);
        return w.sign(x[0], w.select(isLarge, large, result));
      })
      .Case([&](math::AcoshOp) {
        Value root = w.mul(w.sqrt(w.sub(x[0], one)), w.sqrt(w.add(x[0], one)));
        return w.log(w.add(x[0], root));
      })
      .Case([&](math::AtanhOp) {
        Value ratio = w.div(w.mul(w.number(2), x[0]), w.sub(one, x[0]));
        return w.mul(half, w.log1p(ratio));
      })
      .DefaultUnreachable("not in hasWideForm()");
}

Value execution::buildWideRemainder(OpBuilder &builder, Location loc, Value x,
                                    Value y) {
  Wide w(builder, loc);
  Value size = w.abs(x), unit = w.abs(y), zero = w.number(0);
  Value quotient = math::TruncOp::create(builder, loc, w.div(size, unit));
  Value rest = w.fma(w.neg(quotient), unit, size);
  // The quotient may have been rounded up to a whole number.
  rest = w.select(w.less(rest, zero), w.add(rest, unit), rest);
  rest = w.select(w.equal(unit, w.number(infinity)), size, rest);
  return w.sign(x, rest);
}
