"""Chinese words for the demo, in simplified characters."""

from __future__ import annotations

from trichord.pipelines.demo.languages.table import Frame, Language, Noun

_SHAPES = {
    "circle": (("圆形", "个"), ("圆点", "个"), ("圆盘", "个")),
    "square": (("正方形", "个"), ("方块", "个"), ("方格", "个")),
    "triangle": (("三角形", "个"), ("三角", "个"), ("三边形", "个")),
    "star": (("五角星", "颗"), ("星星", "颗"), ("星形", "个")),
    "cross": (("十字", "个"), ("加号", "个"), ("十字形", "个")),
    "ring": (("圆环", "个"), ("圆圈", "个"), ("甜甜圈", "个")),
    "heart": (("爱心", "颗"), ("心形", "个"), ("桃心", "颗")),
    "arrow": (("箭头", "个"), ("指示箭头", "个"), ("方向标", "个")),
}

CHINESE = Language(
    code="zh",
    name="Chinese",
    blank="",
    unit=2,
    shapes={name: tuple(Noun(one=one, many=one, measure=by) for one, by in words) for name, words in _SHAPES.items()},
    colours={
        "red": ("红色", "大红色", "朱红色"),
        "orange": ("橙色", "橘色", "琥珀色"),
        "yellow": ("黄色", "金黄色", "柠檬黄"),
        "green": ("绿色", "翠绿色", "草绿色"),
        "cyan": ("青色", "青绿色", "湖蓝色"),
        "blue": ("蓝色", "宝蓝色", "天蓝色"),
        "purple": ("紫色", "紫罗兰色", "葡萄紫"),
        "pink": ("粉色", "粉红色", "桃粉色"),
        "white": ("白色", "雪白色", "象牙白"),
        "black": ("黑色", "乌黑色", "墨黑色"),
    },
    backgrounds={
        "white": ("白色", "亮白色", "空白"),
        "grey": ("灰色", "烟灰色", "水泥灰"),
        "black": ("黑色", "漆黑", "夜空黑"),
        "navy": ("藏青色", "深蓝色", "午夜蓝"),
        "beige": ("米色", "沙黄色", "奶油色"),
        "mint": ("薄荷绿", "浅绿色", "豆绿色"),
        "brown": ("棕色", "褐色", "原木色"),
        "lavender": ("淡紫色", "浅紫色", "丁香色"),
    },
    sizes={
        "small": ("小", "小小的", "小号"),
        "medium": ("中等大小的", "不大不小的", "中号"),
        "large": ("大", "大大的", "大号"),
    },
    counts={
        1: ("一{measure}", "1{measure}", "一{measure}单独的"),
        2: ("两{measure}", "一对", "2{measure}"),
        3: ("三{measure}", "一组三{measure}", "3{measure}"),
        4: ("四{measure}", "一组四{measure}", "4{measure}"),
    },
    several=("几{measure}", "好几{measure}"),
    positions=(
        ("左上角", "左上方", "上面靠左"),
        ("上方", "上边缘", "上面中间"),
        ("右上角", "右上方", "上面靠右"),
        ("左侧", "左边", "左边缘"),
        ("中央", "正中间", "画面中心"),
        ("右侧", "右边", "右边缘"),
        ("左下角", "左下方", "下面靠左"),
        ("下方", "下边缘", "下面中间"),
        ("右下角", "右下方", "下面靠右"),
    ),
    orders=(
        ("{place}的", "{count}", "{colour}", "{size}", "{noun}"),
        ("{count}", "位于{place}的", "{colour}", "{size}", "{noun}"),
        ("{count}", "涂成{colour}的", "{size}", "{noun}", "（{place}）"),
    ),
    frames=(
        Frame(
            text="{background}{parts}。",
            background="{colour}背景上有",
            unnamed="画面上有",
            joint="、",
            last="和",
        ),
        Frame(
            text="{background}可以看到{parts}。",
            background="在{colour}背景的衬托下，",
            unnamed="这里",
            joint="、",
            last="，还有",
        ),
        Frame(text="{background}{parts}。", background="{colour}底；", joint="；", last="；"),
        Frame(
            text="我们看到{parts}。{background}",
            background="所有图形都画在{colour}的底上。",
            joint="。我们还看到",
            last="。我们还看到",
        ),
        Frame(
            text="有人{background}画了{parts}。",
            background="在{colour}的画布上",
            unnamed="在纸上",
            joint="、",
            last="，旁边是",
        ),
        Frame(
            text="图中内容：{parts}{background}。",
            background="（底色：{colour}）",
            joint="、",
            last="以及",
            second="，外加",
        ),
        Frame(
            text="你能找到{parts}吗？{background}",
            background="它们都在{colour}的背景前面。",
            joint="、",
            last="和",
        ),
    ),
    full_stop="。",
    exclamation="！",
    mojibake="手绘稿——{head}{last}",
    slips={
        "圆": "园", "形": "型", "色": "涩", "角": "脚", "星": "心", "箭": "剑", "环": "坏", "背": "被", "景": "影",
        "蓝": "兰", "黄": "皇", "橙": "澄", "绿": "录", "紫": "柴", "粉": "份", "两": "俩", "颗": "棵", "看": "着",
        "图": "途", "画": "划", "找": "我", "左": "在", "右": "有", "的": "得",
    },
    boilerplate=(
        "点击这里查看更多类似的图片。",
        "本页面所有内容版权归网站所有。",
        "立即订阅我们的邮件，今天下单享九折优惠。",
        "请在浏览器中启用Cookie后继续访问。",
    ),
    mail="投稿邮箱：{found}。",
    phone="购买印刷品请致电：{found}。",
    address="上传地址：{found}。",
    card="付款卡号：{found}。",
    phones=("138 0013 8000", "13800138000", "+86 138-0013-8000", "+1 {area}-555-0{last}"),
    prepare={"languages": ["zh", "wuu"], "phone_region": "CN"},  # short texts may pass for Wu
    example="两个红色的圆形",
)  # fmt: skip
