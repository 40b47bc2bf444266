"""Word lists behind `visibility`: what is about the picture, about when and where, and what cannot be seen."""

from __future__ import annotations


def word_set(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


IMAGE_WORDS = word_set(
    """
    photo photograph photography picture image pic view viewpoint close-up closeup close background foreground backdrop
    shot snapshot illustration stock vector clipart icon logo portrait sketch render rendering template mockup mock-up
    thumbnail screenshot caption copyright royalty video clip footage gif jpeg jpg png file download panorama still
    diagram figure infographic design pattern texture selfie concept collage graphic print drawing lookbook gallery
    portfolio slideshow preview getty shutterstock alamy istock pinterest instagram facebook youtube flickr editorial
    resolution hd 4k hdr bokeh exposure angle perspective composition scene scenery setup layout artwork vectors
    silhouette landscape depiction
    """
)
"""Words about the picture instead of what it shows."""

PLACE_IN_IMAGE = word_set(
    """
    front side back rear top bottom middle center centre edge end corner half part portion section area spot place
    location distance left right inside outside interior exterior underside surface tip surroundings surrounding
    vicinity midst direction position point line row lot rest beginning start way course site zone region district
    country state county province continent world downtown east west north south
    """
)
"""Words for where something is; of themselves they name nothing."""

QUANTITIES = word_set(
    """
    pair group bunch couple lot number variety assortment array collection selection series set piece slice bit amount
    handful dollop dozen hundred thousand million ton plenty majority kind type sort form style size shape color colour shade
    tone hue stack pile heap pack flock herd swarm team trio duo quartet range mix mixture combination host load
    quantity unit total chunk sheet scoop dash spread layer length loaf bar sea body flight clump cluster litter school
    pride wedge strip row line assembly batch class crew portion bundle crowd family lump serving helping splash gang
    tier segment patch base display arrangement
    """
)
"""Before "of", these count or cut up what follows: "a slice of pizza", "a herd of cows"."""

TIMES = word_set(
    """
    time day night morning afternoon evening noon midday midnight dawn dusk twilight daytime nighttime today tomorrow
    yesterday hour minute second moment week weekend month year decade century season spring summer autumn fall winter
    january february march april may june july august september october november december monday tuesday wednesday
    thursday friday saturday sunday christmas halloween thanksgiving easter birthday anniversary holiday vacation eve
    age era period past future date daylight nightfall sundown
    """
)
"""Words for when; before a noun they describe it, and are seen nowhere."""

ABSTRACT = word_set(
    """
    game match race competition championship tournament league contest event party wedding ceremony festival celebration
    concert show performance parade premiere meeting conference lesson training practice exercise workout session tour
    trip travel journey visit adventure ride walk run jump turn trick stunt flight fight battle play work job task
    business career sale shopping rent discount offer price deal promotion delivery shipping service order breakfast
    lunch dinner supper brunch meal cooking baking recipe idea tip tutorial guide review news article blog story episode
    chapter test exam study research project plan program programme process action activity motion movement speed pose
    gesture look glance gaze stare smile laugh laughter grin frown kiss hug touch dance song music sound noise voice
    talk speech conversation discussion chat call interview announcement question answer attempt effort try catch throw
    hit kick serve pitch shot score win victory defeat loss success failure start finish rehearsal routine patrol duty
    attack war peace crime accident crash incident protest campaign election hike swim dive nap sleep bite sip taste
    smell drive stroll gathering reunion trek arrival departure landing takeoff take-off launch opening rodeo marathon
    olympics soccer yoga tennis golf hockey rugby cricket badminton chess karate judo boxing wrestling sport sports
    athletics gymnastics love joy happiness fun fear hope anger beauty style fashion mood feeling emotion dream memory
    thought mind faith life death health fitness wellness luxury comfort care help support safety security freedom power
    energy strength art culture history tradition religion nature science technology education economy industry politics
    law finance marketing management communication information data knowledge skill experience opportunity challenge
    problem solution result reason purpose use usage function role example detail feature option choice quality value
    cost benefit advantage difference level degree rate percent percentage grade rank size weight height width length
    depth volume shape color colour hue tint tone shade contrast brightness darkness dark heat cold warmth weather
    climate temperature air wind breeze gravity balance symmetry chaos peacefulness silence attention interest focus
    effect influence impact spirit soul heaven hell luck chance fate magic mystery secret surprise truth lie fact name
    title brand version edition number no type kind sort theme topic subject issue matter thing something anything
    nothing everything stuff everyone everybody anyone anybody nobody someone somebody one ones other others self
    himself herself itself themselves each all both lot lots plenty more most less least much many few several way
    manner method mode means form format fit pattern trend advice inspiration motivation trivia rumor opinion comment
    thanks welcome hello goodbye wish greeting congratulations vibe aesthetic elegance glamour romance friendship
    relationship marriage engagement pregnancy childhood youth adulthood retirement beginner access amenity variety
    selection collection accommodation destination location attraction sightseeing tourism heritage preparation progress
    construction renovation installation maintenance repair arrangement condition state status situation circumstance
    environment atmosphere ambience ambiance setting place spot area space gap capacity approach reading writing
    learning teaching photography breed species mid-air midair background foreground lifestyle rating availability
    demand supply return free sold new best top cheap buy sell bedtime lunchtime dinnertime kickoff halftime overtime
    inning innings quarter semifinal final finals inch cm mm km kg ml lb lbs oz ft mph usd eur gbp w c circa approx vol
    pt pcs qty xl xxl xs isbn sku getaway honeymoon stay fail tribute debut hairstyle haircut makeover
    """
)
"""Activities, events, qualities, ideas, measures."""

ING_THINGS = word_set(
    """
    building painting ceiling railing ring king string wing swing spring pudding clothing awning crossing dressing icing
    frosting topping filling stuffing seasoning carving earring sibling duckling dumpling herring bedding flooring
    stocking siding paving housing lightning sling sapling seedling gosling viking rigging scaffolding lettering piping
    plumbing wiring sterling upholstery dwelling coating lining covering wrapping starling yearling moulding molding
    tubing fencing roofing decking shelving edging matting netting webbing padding hamstring drawstring shoestring
    o-ring bearing fitting casing furnishing tiling planking cladding parking
    """
)
"""Nouns in -ing that are things."""

THINGS = word_set(
    """
    station television decoration mansion lotion potion carnation intersection plantation vegetation reflection
    medication pavilion cushion lion onion scorpion dandelion medallion stallion battalion accordion companion champion
    city kitty university facility apartment equipment pavement garment basement monument instrument cement tenement
    ornament document compartment department embankment fragment ointment condiment parchment advertisement settlement
    encampment escarpment casement fence ambulance audience residence appliance entrance neighborhood neighbourhood hood
    fortification ship spaceship battleship warship airship flagship steamship township starship harness witness lioness
    governess waitress ceramics plastics cosmetics mechanics prism ostrich celebrity deity conditioner attraction
    excavation habitation subdivision junction constellation concession substance utensil electronics fabrics
    crucifixion tarpaulin concoction
    """
)
"""Words that end like abstract nouns and are things."""
