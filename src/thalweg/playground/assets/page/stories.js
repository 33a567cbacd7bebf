// Guided views: what a course on gradient descent shows with a picture, each with the state that it
// sets. tests/playground/test_stories.py holds every text to the numbers of its paths.

const STORIES = [
  {
    id: 'ravine',
    title: ['The ravine and the zigzag', '골짜기와 지그재그'],
    text: [
      'This bowl is 20 times steeper across than along. At a rate just below the stable limit, gradient descent jumps from wall to wall, and yet hardly moves along the floor. A tenth of the rate stops the zigzag, and then 30 steps do not even reach half way.',
      '이 그릇은 세로 방향이 가로 방향보다 20배 가파릅니다. 학습률(learning rate)이 안정 한계(stability limit) 바로 아래이면 경사 하강법(gradient descent)은 벽에서 벽으로 튀면서 바닥을 따라서는 조금씩만 나아갑니다. 학습률을 십분의 일로 줄이면 지그재그는 사라지지만 30걸음으로는 절반도 가지 못합니다.',
    ],
    state: {surface: 'bowl', rules: ['sgd'], hyper: {sgd: {lr: 0.95}}, steps: 30},
  },
  {
    id: 'overshoot',
    title: ['Momentum overshoots', '지나치는 모멘텀'],
    text: [
      'Momentum adds up past gradients, so it gathers speed along the floor that gradient descent crawls along. It carries that speed past the minimum, to x above 1, and has to come back.',
      '모멘텀(momentum)은 지난 기울기(gradient)를 더해 가므로 경사 하강법이 기어가는 바닥에서도 속도를 얻습니다. 그 속도 때문에 최소점을 지나 x가 1을 넘는 곳까지 갔다가 되돌아옵니다.',
    ],
    state: {surface: 'bowl', rules: ['sgd', 'momentum'], active: 'momentum', hyper: {sgd: {lr: 0.1}, momentum: {lr: 0.1}}, steps: 60},
  },
  {
    id: 'lookahead',
    title: ['Nesterov looks ahead', '앞을 내다보는 네스테로프'],
    text: [
      'Nesterov’s momentum takes the gradient where the momentum is about to carry it. It feels the wall and the rise behind the minimum earlier: at the same settings it overshoots less, and after 60 steps it is 400 times lower.',
      '네스테로프 모멘텀(Nesterov momentum)은 모멘텀이 데려갈 자리의 기울기를 씁니다. 벽과 최소점 너머의 오르막을 더 일찍 느끼므로 같은 설정에서 덜 지나치고, 60걸음 뒤에는 손실(loss)이 400배 낮습니다.',
    ],
    state: {surface: 'bowl', rules: ['momentum', 'nesterov'], active: 'nesterov', hyper: {momentum: {lr: 0.1}, nesterov: {lr: 0.1}}, steps: 60},
  },
  {
    id: 'saddle',
    title: ['Stuck at the saddle', '안장점에 걸리다'],
    text: [
      'The start lies almost on the ridge of a saddle. Gradient descent slides towards the saddle point, where the gradient vanishes, and lingers there. Momentum leaves sooner; Adam scales each direction by its own gradients, so the tiny slope off the ridge counts from the first step.',
      '출발점이 안장(saddle)의 능선 바로 옆입니다. 경사 하강법은 기울기가 사라지는 안장점(saddle point)으로 미끄러져 그 근처에 오래 머뭅니다. 모멘텀은 더 일찍 벗어나고, Adam은 방향마다 제 기울기로 크기를 맞추므로 능선 밖의 아주 작은 기울기도 첫걸음부터 살아납니다.',
    ],
    state: {surface: 'saddle', start: [-1.5, 0.0001], rules: ['sgd', 'momentum', 'adam'], active: 'sgd', hyper: {sgd: {lr: 0.05}, momentum: {lr: 0.05}, adam: {lr: 0.05}}, steps: 80},
  },
  {
    id: 'adagrad',
    title: ['AdaGrad stalls', '멈춰 서는 AdaGrad'],
    text: [
      'AdaGrad divides by the root of all squared gradients so far. That turns it straight into the valley, but the sum only grows: each step is shorter than it would need to be, and after 300 steps it is still far from the minimum.',
      'AdaGrad는 지금까지의 기울기 제곱을 모두 더한 값의 제곱근으로 나눕니다. 덕분에 골짜기 쪽으로 곧장 향하지만, 그 합은 커지기만 하므로 걸음이 점점 짧아져 300걸음 뒤에도 최소점에서 멉니다.',
    ],
    state: {surface: 'beale', rules: ['adagrad'], hyper: {adagrad: {lr: 0.1}}, steps: 300},
  },
  {
    id: 'rmsprop',
    title: ['RMSProp does not', '멈추지 않는 RMSProp'],
    text: [
      'RMSProp replaces AdaGrad’s sum by a moving average, which forgets the steep start. At the same rate it goes on until it stands at the minimum.',
      'RMSProp은 AdaGrad의 합을 이동 평균(moving average)으로 바꿔 가파른 출발을 잊습니다. 같은 학습률로도 최소점에 이를 때까지 나아갑니다.',
    ],
    state: {surface: 'beale', rules: ['adagrad', 'rmsprop'], active: 'rmsprop', hyper: {adagrad: {lr: 0.1}, rmsprop: {lr: 0.1}}, steps: 300},
  },
  {
    id: 'uncorrected',
    title: ['Adam without bias correction', '편향 보정이 없는 Adam'],
    text: [
      'Adam’s averages start at 0 and are too small at first, the second moment far more than the first. Without the correction the first step is three times too long, and the next ones are longer still; with it, each of the first steps is about one learning rate long in each direction.',
      'Adam의 평균은 0에서 출발하므로 처음에는 너무 작고, 2차 모멘트(second moment)는 1차 모멘트보다 훨씬 더 작습니다. 편향 보정(bias correction)이 없으면 첫걸음이 세 배나 길고 다음 걸음은 더 길어집니다. 보정하면 처음 걸음들은 방향마다 학습률만큼입니다.',
    ],
    state: {surface: 'bowl', rules: ['adam', 'mistake:adam_uncorrected'], active: 'mistake:adam_uncorrected', hyper: {adam: {lr: 0.1}, 'mistake:adam_uncorrected': {lr: 0.1}}, steps: 60},
  },
  {
    id: 'edge',
    title: ['The edge of stability, 2/λ', '안정성의 끝 2/λ'],
    text: [
      'Across the bowl the curvature λ is 2, so gradient descent is stable below a rate of 2/λ = 1. At 1.01 each step across multiplies the distance by −1.02: the path swings wider and wider. Move the rate below 1 and it comes to rest.',
      '그릇의 가파른 방향 곡률(curvature) λ는 2이므로 경사 하강법은 학습률이 2/λ = 1보다 작을 때 안정합니다. 1.01이면 한 걸음마다 거리에 −1.02가 곱해져 점점 크게 흔들립니다. 학습률을 1보다 작게 옮기면 잦아듭니다.',
    ],
    state: {surface: 'bowl', start: [-7, 0.5], rules: ['sgd'], hyper: {sgd: {lr: 1.01}}, steps: 100},
  },
  {
    id: 'decay',
    title: ['A rate that decays', '줄어드는 학습률'],
    text: [
      'Here every gradient is noisy. At a constant rate the path would rattle around the minimum for ever; with a cosine schedule the rate falls to zero and the noise with it. Set the schedule to constant and compare the last steps.',
      '여기서는 기울기마다 잡음(noise)이 있습니다. 학습률이 일정하면 최소점 둘레에서 끝없이 흔들리지만, 코사인 일정(cosine schedule)은 학습률을 0까지 낮추어 잡음도 줄입니다. 일정을 ‘일정 (constant)’으로 바꾸고 마지막 걸음들을 비교해 보세요.',
    ],
    state: {surface: 'bowl', rules: ['sgd'], hyper: {sgd: {lr: 0.4}}, noise: 1, seed: 1, schedule: 'cosine', steps: 200},
  },
  {
    id: 'batch',
    title: ['One sample, a mini-batch, all of them', '표본 하나, 미니배치, 전체'],
    text: [
      'The loss of a line through 150 petals, over its two weights. With one sample per step the path is rough and ends well above the minimum; with 15 it is nearly smooth, and with all of them (0) exactly so. Slide the number of samples.',
      '꽃잎 150개를 지나는 직선의 손실을 두 가중치 위에 그린 것입니다. 걸음마다 표본 하나만 쓰면 경로가 거칠고 최솟값보다 꽤 위에서 끝나며, 15개(mini-batch)면 거의 매끄럽고, 전체(0, full batch)면 완전히 매끄럽습니다. 표본 수를 움직여 보세요.',
    ],
    state: {surface: 'petals', rules: ['sgd'], hyper: {sgd: {lr: 0.08}}, batch: 1, seed: 1, steps: 300},
  },
  {
    id: 'lecture',
    title: ['A lesson on Adam', 'Adam 실습'],
    text: [
      'The surface of a hands-on lesson: Adam with a rate of 0.05 takes 92 steps from (0.5, 5.8), each hardly longer than the rate, and gets half way. Gradient descent at the same rate is at the bottom: a rate means something else to each optimizer.',
      '실습 강의의 표면입니다. Adam은 학습률 0.05로 (0.5, 5.8)에서 92걸음을 걷는데, 걸음마다 학습률보다 조금도 길지 않아 절반쯤 갑니다. 같은 학습률의 경사 하강법은 벌써 바닥에 있습니다. 학습률의 뜻은 최적화 알고리즘(optimizer)마다 다릅니다.',
    ],
    state: {surface: 'lecture', start: [0.5, 5.8], rules: ['adam', 'sgd'], active: 'adam', hyper: {adam: {lr: 0.05}, sgd: {lr: 0.05}}, steps: 92},
  },
  {
    id: 'mistaken-gradient',
    title: ['Mistake: three wrong terms in the gradient', '실수: 기울기의 세 항이 틀림'],
    text: [
      'The same heights, but three terms of the gradient are wrong. Adam walks on as if nothing were amiss and comes to rest beside the minimum, where the true gradient is far from zero. A look at the loss shows nothing; a gradient check does.',
      '높이는 같지만 기울기의 세 항이 틀렸습니다. Adam은 아무 일 없다는 듯 걸어가 참 기울기가 0이 아닌, 최소점 옆에서 멈춥니다. 손실만 보아서는 알 수 없고, 기울기 검사(gradient check)를 해야 드러납니다.',
    ],
    state: {surface: 'mistake:lecture', start: [0.5, 5.8], rules: ['adam'], hyper: {adam: {lr: 0.05}}, steps: 600},
  },
  {
    id: 'restarted',
    title: ['Mistake: the step counter restarts', '실수: 걸음 번호가 다시 시작함'],
    text: [
      'The bias correction divides by 1 − βᵗ. If t is 1 at every step, the first moment is always divided by 0.1 and the second by 0.001. The first step is right; later the steps have another length than the rate says.',
      '편향 보정(bias correction)은 1 − βᵗ로 나눕니다. t가 늘 1이면 1차 모멘트는 언제나 0.1로, 2차 모멘트는 0.001로 나뉩니다. 첫걸음은 맞지만 그 뒤의 걸음은 학습률이 말하는 길이와 다릅니다.',
    ],
    state: {surface: 'lecture', start: [0.5, 5.8], rules: ['adam', 'mistake:adam_restarted'], active: 'mistake:adam_restarted', hyper: {adam: {lr: 0.05}, 'mistake:adam_restarted': {lr: 0.05}}, steps: 92},
  },
  {
    id: 'eps-subtracted',
    title: ['Mistake: ε is subtracted', '실수: ε을 뺌'],
    text: [
      'Adam adds ε so that it never divides by nearly nothing. On this plain the slope is about as small as ε: added, it shortens the first step; subtracted, it makes it more than twice as long as the rate. Where ε is larger than the root, the step even turns uphill.',
      'Adam은 0에 가까운 수로 나누지 않으려고 ε을 더합니다. 이 평원의 기울기는 ε만큼 작습니다. ε을 더하면 첫걸음이 짧아지고, 빼면 학습률의 두 배보다 길어집니다. ε이 제곱근보다 크면 걸음이 오르막을 향하기까지 합니다.',
    ],
    state: {surface: 'easom', start: [0, 0], rules: ['adam', 'mistake:adam_eps_subtracted'], active: 'mistake:adam_eps_subtracted', hyper: {adam: {lr: 0.05}, 'mistake:adam_eps_subtracted': {lr: 0.05}}, steps: 60},
  },
  {
    id: 'wrong-root',
    title: ['Mistake: the root on the wrong moment', '실수: 제곱근을 다른 모멘트에'],
    text: [
      'Here the root is taken of the first moment instead of the second. The step is far too short where the gradient is large, and where the mean gradient becomes negative its root is no number: the path ends.',
      '여기서는 2차 모멘트가 아니라 1차 모멘트에 제곱근을 씌웁니다. 기울기가 큰 곳에서 걸음이 너무 짧고, 평균 기울기가 음수가 되면 제곱근이 수가 아니어서(NaN) 경로가 끝납니다.',
    ],
    state: {surface: 'lecture', start: [0.5, 5.8], rules: ['adam', 'mistake:adam_wrong_root'], active: 'mistake:adam_wrong_root', hyper: {adam: {lr: 0.05}, 'mistake:adam_wrong_root': {lr: 0.05}}, steps: 200},
  },
];

// What the page shows when it is opened without an address of a state.
const OPENING = {
  surface: 'beale', start: [1, 1.5], rules: ['sgd', 'momentum', 'rmsprop', 'adam'], active: 'adam',
  hyper: {sgd: {lr: 0.01}, momentum: {lr: 0.005}, rmsprop: {lr: 0.03}, adam: {lr: 0.1}}, steps: 150,
};
